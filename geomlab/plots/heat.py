"""What pictures of matrices share: the colours, what is missing, and ink that is read on them."""

from typing import Any

import numpy as np
from matplotlib import colormaps

COLOURS = "viridis"
MISSING = "#d9d9d9"
MISSING_HTML = "rgba(128,128,128,0.35)"  # on a light page and on a dark one


def ink(value: float) -> str:
    """Black or white, whichever is read on the colour of a value of 0 to 1: by its luminance in grey."""
    if not np.isfinite(value):
        return "black"
    red, green, blue, _ = colormaps[COLOURS](float(value))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def colour_axis(label: str) -> dict[str, Any]:
    """A colour axis of plotly, 0 to 1."""
    bar = {"title": {"text": label, "side": "right"}, "thickness": 14}
    return {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": bar}
