"""grace: trains GRACE and the methods it is compared with, each from a recipe."""
