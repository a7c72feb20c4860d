"""Loss slices: directions in parameter space, and the loss along them."""
