"""A static figure of panels, one a checkpoint."""

from collections.abc import Sequence
from math import ceil

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geomlab.plots.style import COLUMN, PAGE, new_figure

ACROSS = 3  # panels side by side


def facets(parts: Sequence[tuple[str, xr.Dataset]], title: str, *, above: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each checkpoint, on shared axes.

    Args:
        parts: names of the checkpoints and their data.
        title: of the figure.
        above: inches for what is not panels.
    """
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    fig = new_figure(COLUMN if across == 1 else PAGE, above + 1.7 * rows, title)
    axes = fig.subplots(rows, across, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[len(parts) :]:
        ax.set_visible(False)
    return fig, list(axes[: len(parts)])


def label_lowest(ax: Axes, place: int, count: int, label: str) -> None:
    """Name the x axis of a panel below which there is none, also where the last row is not full.

    Args:
        ax: the panel.
        place: its number.
        count: of panels.
        label: of the axis.
    """
    ax.label_outer()
    if place + min(count, ACROSS) >= count:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(label)
