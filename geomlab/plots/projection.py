"""Features in two dimensions, in a projection that is the same under all conditions."""

from math import ceil

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from geomlab.plots import select
from geomlab.plots.clouds import PCA, Cloud, Space, axis_labels, clouds, limits, said
from geomlab.plots.scales import Array
from geomlab.plots.style import PAGE, Drawn, kind, lines, new_figure, plain, short, styled
from geomlab.results.features import class_names

ACROSS = 3
BEHIND, INK = "#c4c4c4", "#222222"
FLATTEST, TALLEST = 0.6, 1.2  # height of a panel over its width


def plot(data: xr.Dataset, ax: Axes, condition: str, space: Space = PCA, *, size: float = 5.0) -> list[Drawn]:
    """Draw one condition's points on the first two axes over the clean ones, and how its class centroids moved.

    A fine line joins each point to the centroid of its class, an arrow each class's clean centroid to the one here;
    the number is that of the class.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        condition: which one.
        space: `PCA` or `UMAP`.
        size: of a point, square points.
    """
    found = clouds(data, space)
    artists: list[Drawn] = []
    for one in found:
        if kind(one.condition) == "clean" and one.condition != condition:
            artists.append(
                ax.scatter(
                    one.points[:, 0], one.points[:, 1], s=0.4 * size, color=BEHIND, linewidths=0, zorder=1
                )
            )
    one = next(one for one in found if one.condition == condition)
    artists += [ax.add_collection(_spokes(one)), _dots(one, ax, size)]
    middle = one.centres[:, :2].mean(axis=0)
    for place in one.moved:
        here, before = one.centres[place, :2], one.clean[place, :2]
        if np.isfinite(before).all() and not np.allclose(here, before):
            ax.annotate(
                "",
                tuple(here),
                tuple(before),
                arrowprops={"arrowstyle": "->", "color": INK, "lw": 0.7, "shrinkA": 0, "shrinkB": 0},
            )
        away = here - before if np.linalg.norm(here - before) > 0 else here - middle
        _number(ax, str(one.classes[place]), here, away)
    ax.set_aspect("equal")
    ends, names = limits(found), axis_labels(data, space)
    ax.set(xlim=ends[0], ylim=ends[1], xlabel=names[0], ylabel=names[1])
    ax.grid(visible=False)
    return artists


@styled
def figure(data: xr.Dataset, title: str = PCA.title, space: Space = PCA) -> Figure:
    """Panels of `plot`: conditions of one checkpoint, or a row a checkpoint, each with one scale."""
    parts, shown = list(select.per_checkpoint(data)), select.measured(data, space.variable)
    several = len(parts) > 1
    across = len(shown) if several else min(len(shown), ACROSS)
    per_part = 1 if several else ceil(len(shown) / across)
    side = (PAGE - 0.6) / max(across, 2)
    shapes = [_shape(limits(clouds(one, space))) for _, one in parts]
    height = sum(per_part * (side * shape + 0.25) for shape in shapes)
    fig = new_figure(PAGE, 1.1 + height, lines(title, said(data, space)))
    axes = fig.subplots(
        per_part * len(parts),
        across,
        squeeze=False,
        height_ratios=[shape for shape in shapes for _ in range(per_part)],
    )
    for i, (name, one) in enumerate(parts):
        measured = [cloud.condition for cloud in clouds(one, space)]
        for j, condition in enumerate(shown):
            row, column = i * per_part + j // across, j % across
            ax = axes[row, column]
            if condition not in measured:
                continue
            plot(one, ax, condition, space, size=min(2.4 * side, 5.0))
            ax.set_title(plain(short(condition, int(15 * side))))
            label = f"{short(name, 20)}\n{ax.get_ylabel()}" if several else ax.get_ylabel()
            ax.set_ylabel(plain(label))
            ax.yaxis.label.set_visible(column == 0)
            below = several or j + across >= len(shown)
            ax.xaxis.label.set_visible(below)
            ax.tick_params(labelleft=column == 0, labelbottom=below, labelsize=6)
    for ax in axes.ravel():
        if not ax.has_data():
            ax.remove()
    _legend(fig, data, grey=len(shown) > 1 and any(kind(name) == "clean" for name in shown))
    return fig


def _dots(one: Cloud, ax: Axes, size: float) -> Drawn:
    return ax.scatter(
        one.points[:, 0],
        one.points[:, 1],
        s=size,
        marker=one.look.marker,
        color=one.look.color,
        alpha=0.75,
        linewidths=0,
        zorder=3,
    )


def _spokes(one: Cloud) -> LineCollection:
    """A line from each point to the centroid of its class."""
    place = {number: i for i, number in enumerate(one.classes.tolist())}
    there = [i for i, label in enumerate(one.labels.tolist()) if label in place]
    ends = one.centres[[place[label] for label in one.labels[there].tolist()]]
    both = np.stack([one.points[there, :2], ends[:, :2]], axis=1)
    return LineCollection(list(both), colors=one.look.color, linewidths=0.35, alpha=0.3, zorder=2)


def _number(ax: Axes, text: str, at: Array, away: Array) -> None:
    """A class's number beside its centroid: beyond the arrow's head, or away from the middle of all."""
    step = 5 * away / (np.linalg.norm(away) or 1.0)
    ax.annotate(
        text,
        tuple(at),
        tuple(step),
        textcoords="offset points",
        fontsize=6,
        ha="center",
        va="center",
        color=INK,
        path_effects=[withStroke(linewidth=1.5, foreground="white")],
        zorder=6,
    )


def _shape(ends: Array) -> float:
    """Height of a panel over its width, for equal units along both axes."""
    width, height = np.diff(ends, axis=1)[:2, 0]
    return float(np.clip(height / width, FLATTEST, TALLEST))


def _legend(fig: Figure, data: xr.Dataset, *, grey: bool) -> None:
    """What is grey, and the names of the classes by their numbers, where they have names and are few."""
    names = class_names(data)
    told = {number: name for number, name in names.items() if name != str(number)}
    handles = [Line2D([], [], color=BEHIND, marker="o", linestyle="none", label="clean")] if grey else []
    if len(names) <= 20:
        handles += [
            Line2D([], [], marker=f"${number}$", color=INK, linestyle="none", label=plain(short(name, 20)))
            for number, name in told.items()
        ]
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
