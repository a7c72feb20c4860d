"""CKA of every layer with every layer: of the clean inputs, or of the reference."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from plotly.subplots import make_subplots

from geomlab.plots import heat, layerwise, select
from geomlab.plots.names import shorten
from geomlab.plots.scales import Array
from geomlab.plots.style import PAGE, escape, finish, new_figure, plain, short, styled

VALUE = "debiased linear CKA"
ROWS = "layer under the condition"
ACROSS = 3  # panels side by side of one checkpoint, and in a browser
LARGE, SMALL = 0.19, 5.0  # inches of a square that holds a number, and points of its letters then
NAMED = 14  # layers named along a side


@dataclass(frozen=True)
class Matrix:
    """Whose layers are compared.

    Attributes:
        variable: of dimensions layer and `other`.
        other: the dimension of the layers that those under a condition are compared with.
        title: of the figure.
        label: of the axis of `other`.
    """

    variable: str
    other: str
    title: str
    label: str


CLEAN = Matrix("cka_matrix", "clean_layer", "CKA of all layers with those on clean inputs", "on clean inputs")
REFERENCE = Matrix(
    "reference_cka_matrix",
    "reference_layer",
    "CKA of all layers with the reference's, on the same inputs",
    "of the reference",
)


@dataclass(frozen=True)
class Panel:
    """One matrix: of which checkpoint and condition, the data of both, and its row and column."""

    checkpoint: str
    condition: str
    data: xr.Dataset
    place: tuple[int, int]


def plot(data: xr.Dataset, ax: Axes, matrix: Matrix = CLEAN, *, numbers: float = SMALL) -> AxesImage:
    """Draw the matrix of one checkpoint under one condition; both axes go from input to output.

    Args:
        data: measurement `features` of one checkpoint and one condition.
        ax: to draw into.
        matrix: `CLEAN` or `REFERENCE`.
        numbers: points of the values in the squares; 0 for none.

    Returns:
        The image, for a colour bar. What is not defined stays grey.
    """
    rows, columns, values, _ = _values(data, matrix)
    ax.set_facecolor(heat.MISSING)
    ax.spines[:].set_visible(False)
    masked = np.ma.masked_invalid(values)
    image = ax.imshow(masked, cmap=heat.COLOURS, vmin=0, vmax=1, origin="lower", aspect="equal")
    for (row, column), value in np.ndenumerate(values):
        if numbers and np.isfinite(value):
            text = f"{value:.2f}".replace("0.", ".", 1)
            ax.text(column, row, text, ha="center", va="center", fontsize=numbers, color=heat.ink(value))
    ax.set_xticks(*_ticks(columns), rotation=90)
    ax.set_yticks(*_ticks(rows))
    ax.tick_params(length=0, labelsize=5.5)
    ax.grid(visible=False)
    ax.set(xlabel=f"layer {matrix.label}", ylabel=ROWS)
    return image


@styled
def figure(data: xr.Dataset, title: str = CLEAN.title, matrix: Matrix = CLEAN) -> Figure:
    """Panels of `plot` with one colour bar: conditions of one checkpoint, or a row a checkpoint."""
    several = len(select.checkpoints(data)) > 1
    panels = list(_panels(data, matrix, wrap=not several))
    rows, across = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    side = (PAGE - 1.4) / max(across, 2)
    fig = new_figure(PAGE, 0.85 + rows * (side + 0.3), title)
    axes = fig.subplots(rows, across, squeeze=False)
    for panel in panels:
        ax = axes[panel.place]
        room = side / max(data.sizes["layer"], data.sizes[matrix.other])
        image = plot(
            panel.data, ax, matrix, numbers=min(SMALL + 8 * (room - LARGE), 7) if room > LARGE else 0
        )
        first = panel.place[1] == 0
        ax.set_title(
            plain(short(panel.condition, int(15 * side))) if panel.place[0] == 0 or not several else ""
        )
        ax.set(xlabel="", ylabel=plain(short(panel.checkpoint, int(13 * side))) if several and first else "")
        below = any(one.place == (panel.place[0] + 1, panel.place[1]) for one in panels)
        ax.tick_params(labelleft=first, labelbottom=not below)
    for ax in axes.ravel():
        if not ax.has_data():
            ax.remove()
    about = layerwise.axis_label(_values(panels[0].data, matrix)[1], most=NAMED)
    fig.supxlabel(about.replace("layer", f"layer {matrix.label}", 1), fontsize=8)
    fig.supylabel(ROWS, fontsize=8)
    bar = fig.colorbar(image, ax=fig.axes, label=VALUE, aspect=30, pad=0.01, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.outline.set_visible(False)
    return fig


def interactive(data: xr.Dataset, title: str = CLEAN.title, matrix: Matrix = CLEAN) -> go.Figure:
    """The same for a browser, with values and errors in the hover text."""
    several = len(select.checkpoints(data)) > 1
    panels = list(_panels(data, matrix, wrap=True))
    rows, across = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    titles = {one.place: escape(_name(one) if several else short(one.condition)) for one in panels}
    fig = make_subplots(
        rows,
        across,
        subplot_titles=[titles.get((i, j), "") for i in range(rows) for j in range(across)],
        vertical_spacing=0.3 / rows,
        horizontal_spacing=0.12 / across,
    )
    hover = f"%{{y}} under the condition<br>%{{x}} {matrix.label}<br>%{{z:.3f}} ± %{{customdata:.3f}}"
    for panel in panels:
        where = {"row": panel.place[0] + 1, "col": panel.place[1] + 1}
        names, others, values, errors = _values(panel.data, matrix)
        fig.add_heatmap(
            x=list(map(escape, others)),
            y=list(map(escape, names)),
            z=values.astype(np.float32),  # half the room, and more digits than are known
            customdata=errors.astype(np.float32),
            hovertemplate=f"{hover}<extra></extra>",
            hoverongaps=False,
            coloraxis="coloraxis",
            **where,
        )
        fig.update_xaxes(**_axis(others), tickangle=-90, **where)
        fig.update_yaxes(**_axis(names), showticklabels=panel.place[1] == 0, **where)
    fig.update_layout(coloraxis=heat.colour_axis(VALUE))
    fig = finish(fig, title, 60 + 370 * rows)
    fig.update_layout(plot_bgcolor=heat.MISSING_HTML)
    return fig


def _panels(data: xr.Dataset, matrix: Matrix, *, wrap: bool) -> Iterator[Panel]:
    """The conditions with a matrix under some checkpoint, in rows of `ACROSS`, or a row a checkpoint."""
    shown, number = select.measured(data, matrix.variable), 0
    across = ACROSS if wrap else len(shown)
    for name, one in select.per_checkpoint(data):
        for condition, cell in select.per_condition(select.only(one, matrix.variable), matrix.variable):
            place = divmod(number, across)
            yield Panel(name, condition, cell, place if wrap else (place[0], shown.index(condition)))
            number += 1
        number = ceil(number / across) * across  # a checkpoint starts a row


def _values(one: xr.Dataset, matrix: Matrix) -> tuple[list[str], list[str], Array, Array]:
    """Layers under the condition and those they are compared with, values and standard errors (layer, other)."""
    rows, columns = (select.layers(one, matrix.variable, dim) for dim in ("layer", matrix.other))
    part = one.sel({"layer": rows, matrix.other: columns}).transpose("layer", matrix.other, ...)
    return rows, columns, select.numbers(part, matrix.variable), select.errors(part, matrix.variable)


def _ticks(names: list[str]) -> tuple[list[int], list[str]]:
    """Places along a side, as many as fit, and short names."""
    labels, _ = shorten(names)
    places = list(range(0, len(names), ceil(len(names) / NAMED)))
    return places, [plain(short(labels[i], 14)) for i in places]


def _axis(names: list[str]) -> dict[str, Any]:
    """Settings of a plotly axis of layers by name."""
    places, labels = _ticks(names)
    ticks = {"tickvals": [escape(names[i]) for i in places], "ticktext": list(map(escape, labels))}
    return {**ticks, "type": "category", "showgrid": False, "zeroline": False}


def _name(panel: Panel) -> str:
    return f"{short(panel.checkpoint, 14)}: {short(panel.condition, 18)}"
