"""A static figure of panels, one a checkpoint."""

from collections.abc import Callable, Sequence
from math import ceil

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geomlab.plots import select
from geomlab.plots.style import COLUMN, PAGE, new_figure, plain, short

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


def panelled(
    data: xr.Dataset, title: str, draw: Callable[[xr.Dataset, Axes], object], *, label: str, above: float
) -> Figure:
    """`facets` with each checkpoint drawn into its panel, named where there are several, and the x axis named below.

    Args:
        data: of all checkpoints.
        title: of the figure.
        draw: draws one checkpoint.
        label: of the x axis.
        above: as of `facets`.
    """
    parts = list(select.per_checkpoint(data))
    fig, axes = facets(parts, title, above=above)
    for place, (ax, (name, one)) in enumerate(zip(axes, parts, strict=True)):
        ax.set_title(plain(short(name, 22)) if len(parts) > 1 else "")
        draw(one, ax)
        label_lowest(ax, place, len(parts), label)
    return fig


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
