"""The sanity checks of attacks, in words."""

CHECKS = {
    "falls": "accuracy falls to 0 with the radius",
    "noise": "random noise is weaker",
    "steps": "more steps never hurt",
    "black_box": "a black-box attack is not stronger",
}
