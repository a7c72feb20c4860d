"""The loss on a plane through the network's parameters."""

from math import ceil
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from geomlab.plots import select
from geomlab.plots.axes import heading, step_label
from geomlab.plots.scales import Array, label, levels
from geomlab.plots.style import PAGE, REMARK, new_figure, plain, short, styled

ACROSS = 3
TITLE = "Loss on a plane through the parameters"
VALUE = "cross-entropy (nats)"
COLOURS = "viridis"


def plot(data: xr.Dataset, ax: Axes, marks: tuple[Array, bool] | None = None) -> QuadContourSet | None:
    """Draw filled, labelled contours of the loss of one checkpoint under one condition.

    Args:
        data: measurement `landscape` of one checkpoint and one condition.
        ax: to draw into.
        marks: contour levels and whether they are logarithmic; by default what the numbers ask for.

    Returns:
        The filled contours, for a colour bar; None where next to nothing is finite. What is not finite stays
        grey and is counted.
    """
    x, y, z = on_grid(data)
    ax.set(xlabel=step_label(data, 0), ylabel=step_label(data, 1), box_aspect=1)  # steps differ in length
    ax.grid(visible=False)
    ax.set_facecolor("#d9d9d9")
    holes = int((~np.isfinite(z)).sum())
    if holes:
        what = "nodes" if "plane_measured" in data else "points"
        ax.set_title(f"{holes} of {z.size} {what} not finite", loc="right", fontsize=6, color=REMARK)
    if holes > z.size - 4:
        return None
    steps, logarithmic = marks or levels(z)
    norm = (LogNorm if logarithmic else Normalize)(steps[0], steps[-1])
    masked = np.ma.masked_invalid(z)
    filled = ax.contourf(x, y, masked, levels=steps, norm=norm, cmap=COLOURS)
    lines = ax.contour(x, y, masked, levels=steps, colors="white", linewidths=0.4, alpha=0.8)
    ax.clabel(lines, fmt=label, fontsize=5.5, inline_spacing=2)
    ax.plot(0, 0, marker="+", color="white", markersize=6, markeredgewidth=1.2)
    if "plane_measured" in data:
        at, beside = points(data)
        ax.scatter(at, beside, s=1.2, color="white", alpha=0.6, linewidths=0)
    _waypoints(data, ax)
    return filled


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot` with the same levels: conditions of one checkpoint, or a row a checkpoint."""
    names = measured(data)
    checkpoints = list(select.per_checkpoint(data))
    several = len(checkpoints) > 1
    across = len(names) if several else min(len(names), ACROSS)
    rows = len(checkpoints) if several else ceil(len(names) / across)
    marks = levels(select.numbers(data, "plane_loss"))
    side = (PAGE - 1.2) / max(across, 2)
    fig = new_figure(PAGE, 1.05 + rows * (side + 0.22), heading(title, data))
    axes = fig.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
    filled = None
    cells = [(checkpoint, one, condition) for checkpoint, one in checkpoints for condition in names]
    for place, (ax, (checkpoint, one, condition)) in enumerate(zip(axes.ravel(), cells, strict=False)):
        filled = plot(one.sel(condition=condition), ax, marks) or filled
        ax.set_title(plain(short(condition, 16 if several else 26)) if place < across or not several else "")
        ax.set(xlabel="", ylabel=plain(short(checkpoint, 24)) if several and place % across == 0 else "")
    for ax in axes.ravel()[len(cells) :]:
        ax.set_visible(False)
    fig.supxlabel(step_label(data, 0), fontsize=8)
    fig.supylabel(step_label(data, 1), fontsize=8)
    if filled is not None:
        _colour_bar(fig, filled, axes, marks[0])
    return fig


def _waypoints(data: xr.Dataset, ax: Axes) -> None:
    """The networks of a trajectory in order, numbered from 1; what is beyond the axes is cut off."""
    if "waypoint_step" not in data:
        return
    x, y = (select.numbers(data.sel(axis=axis), "waypoint_step") for axis in (0, 1))
    seen: dict[str, Any] = {"path_effects": [withStroke(linewidth=2, foreground="black")], "clip_on": True}
    ax.plot(x, y, color="white", linewidth=0.8, marker="o", markersize=3, **seen)
    for number, at in enumerate(zip(x, y, strict=True), start=1):
        ax.annotate(
            str(number),
            at,
            (4, 3),
            textcoords="offset points",
            fontsize=7,
            color="white",
            annotation_clip=True,
            **seen,
        )


def measured(data: xr.Dataset) -> list[str]:
    """The conditions for which some checkpoint has a plane."""
    found = [
        name for _, one in select.per_checkpoint(data) for name, _ in select.per_condition(one, "plane_loss")
    ]
    return [name for name in select.conditions(data) if name in found]


def _colour_bar(fig: Figure, filled: QuadContourSet, axes: Any, steps: Array) -> None:
    ticks = steps[:: ceil(len(steps) / 12)]
    bar = fig.colorbar(filled, ax=axes, label=VALUE, aspect=30, pad=0.01, ticks=ticks)
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: label(value))
    bar.outline.set_visible(False)


def on_grid(one: xr.Dataset) -> tuple[Array, Array, Array]:
    """Steps along d0 (x) and d1 (y), and the loss as (y, x), on the grid of this cell."""
    loss = one["plane_loss"].transpose("beta", "alpha")
    z = select.numbers(loss.to_dataset(), "plane_loss")
    return select.numbers(one, "alpha"), select.numbers(one, "beta"), z


def points(one: xr.Dataset) -> tuple[Array, Array]:
    """Where the loss was measured and not interpolated: steps along d0 and d1."""
    mask = one["plane_measured"].transpose("beta", "alpha").to_dataset()
    rows, columns = np.nonzero(select.numbers(mask, "plane_measured") == 1)
    return select.numbers(one, "alpha")[columns], select.numbers(one, "beta")[rows]
