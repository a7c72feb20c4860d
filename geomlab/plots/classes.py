"""Which class moved: the turn of its centroid and the change of its Gram matrix at the last layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.layerwise import stripe
from geomlab.plots.scales import Array
from geomlab.plots.style import (
    GREY,
    PAGE,
    Drawn,
    Look,
    escape,
    finish,
    kind,
    legend,
    lines,
    looks,
    new_figure,
    plain,
    short,
    styled,
)
from geomlab.results.features import class_names, last_layer

TITLE = "How far each class moved, at the last layer"
LABELS = {"class_cosine": "cosine of its centroids", "class_gram_drift": "Gram drift"}
STILL = {"class_cosine": 1.0, "class_gram_drift": 0.0}
MOST, SHOWN = 30, 15  # of more classes than the first, the second number is drawn


@dataclass(frozen=True)
class Dots:
    """A condition's numbers of the classes, with half lengths of their 95 % intervals, and where they are drawn."""

    condition: str
    look: Look
    value: Array
    half: Array
    place: Array


def plot(
    data: xr.Dataset, ax: Axes, variable: str = "class_cosine", shown: list[int] | None = None
) -> list[Drawn]:
    """Draw a number of each class of one checkpoint at the last layer, one series a condition, with 95 % bars.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        variable: `class_cosine` or `class_gram_drift`.
        shown: the numbers of the classes, from the top; by default those that moved most, the worst on top.
    """
    order = shown if shown is not None else worst(data)
    artists: list[Drawn] = [
        ax.errorbar(
            one.value,
            one.place,
            xerr=one.half,
            color=one.look.color,
            marker=one.look.marker,
            ls="none",
            lw=0.8,
            ms=3,
        )
        for one in _dots(data, variable, order)
    ]
    names = class_names(data)
    ax.axvline(STILL[variable], color="#888888", linewidth=0.6, zorder=1)
    stripe(ax, len(order), along="y")
    ax.set_yticks(range(len(order)), [plain(short(names[number], 20)) for number in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel=LABELS[variable], ylabel="class")
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot`, a column a number and a row a checkpoint, with the same classes in the same order."""
    parts, order, variables = list(select.per_checkpoint(data)), worst(data), _there(data)
    height = 0.24 + 0.13 * len(order) * max(1.0, len(_shown(data)) / 3)
    fig = new_figure(PAGE, 1.2 + height * len(parts), lines(title, _said(data, order)))
    axes = fig.subplots(len(parts), len(variables), sharex="col", sharey=True, squeeze=False)
    for row, (name, one) in zip(axes, parts, strict=True):
        for ax, variable in zip(row, variables, strict=True):
            plot(one, ax, variable, order)
            ax.label_outer()
        row[0].set_title(plain(short(name)) if len(parts) > 1 else "")
    legend(fig, _shown(data), lines=False)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, order, variables = list(select.per_checkpoint(data)), worst(data), _there(data)
    names = [escape(short(class_names(data)[number], 24)) for number in order]
    prefix = [f"{escape(short(name, 24))}: " if len(parts) > 1 else "" for name, _ in parts]
    titles = [start + LABELS[variable] for start in prefix for variable in variables]
    height = 60 + 22 * len(order)
    total = (height + 40) * len(parts)
    fig = make_subplots(
        len(parts),
        len(variables),
        shared_xaxes="columns",
        shared_yaxes="all",
        subplot_titles=titles,
        vertical_spacing=50 / total,
        horizontal_spacing=0.04,
    )
    for row, (_, one) in enumerate(parts, start=1):
        for column, variable in enumerate(variables, start=1):
            for dots in _dots(one, variable, order):
                trace = _trace(dots, names, legend=row == column == 1)
                fig.add_trace(trace, row=row, col=column)
            fig.add_vline(
                x=STILL[variable], line={"color": GREY, "width": 1}, layer="below", row=row, col=column
            )
    fig.update_yaxes(
        tickvals=list(range(len(order))), ticktext=names, range=[len(order) - 0.5, -0.5], zeroline=False
    )
    return finish(fig, lines(title, _said(data, order)), 90 + total)


def worst(data: xr.Dataset) -> list[int]:
    """The classes by their least cosine under any condition of any checkpoint, the worst first; of many the first."""
    cosine = last_layer(data)["class_cosine"].transpose("class", ...).values
    flat = cosine.reshape(data.sizes["class"], -1)
    least = np.where(np.isfinite(flat), flat, np.inf).min(axis=1)
    order = [int(data["class"].values[i]) for i in np.argsort(least, kind="stable") if np.isfinite(least[i])]
    return order if len(order) <= MOST else order[:SHOWN]


def _said(data: xr.Dataset, order: list[int]) -> str:
    """A line on the classes that are not drawn; "" where all are."""
    many = data.sizes["class"]
    return f"the {len(order)} classes of {many} whose centroids turned most" if many > MOST else ""


def _there(data: xr.Dataset) -> list[str]:
    """The numbers of classes that these results have: older ones have cosines only."""
    return [name for name in LABELS if np.isfinite(select.numbers(data, name)).any()]


def _shown(data: xr.Dataset) -> dict[str, Look]:
    """The conditions but clean, which moved nowhere."""
    there, found = select.measured(data, "class_cosine"), looks(select.conditions(data))
    moved = [name for name in there if kind(name) != "clean"]
    return {name: found[name] for name in moved or there}


def _dots(data: xr.Dataset, variable: str, order: list[int]) -> Iterator[Dots]:
    """The series of a panel; in the row of a class the conditions are moved apart, in their order."""
    shown = _shown(data)
    names = list(shown)
    for name, one in select.per_condition(data, variable):
        if name in shown:
            part = last_layer(one).sel({"class": order})
            moved = 0.7 * ((names.index(name) + 0.5) / len(names) - 0.5)
            yield Dots(
                name,
                shown[name],
                select.numbers(part, variable),
                select.jackknife_half_widths(part, variable),
                np.arange(len(order), dtype=np.float64) + moved,
            )


def _trace(dots: Dots, names: list[str], *, legend: bool) -> go.Scatter:
    look = dots.look
    return go.Scatter(
        x=dots.value,
        y=dots.place,
        error_x={"array": dots.half, "thickness": 1.2, "width": 0},
        name=escape(dots.condition),
        legendgroup=dots.condition,
        showlegend=legend,
        mode="markers",
        marker={"color": look.color, "symbol": look.symbol, "size": 7},
        customdata=[[name, half] for name, half in zip(names, dots.half.tolist(), strict=True)],
        hovertemplate="%{customdata[0]}<br>%{x:.4g} ± %{customdata[1]:.2g} (95 %)",
    )
