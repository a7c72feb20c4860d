"""How much the top eigenspaces of conditions and checkpoints have in common."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from geomlab.plots import heat, select
from geomlab.plots.scales import Array
from geomlab.plots.style import COLUMN, PAGE, REMARK, escape, finish, new_figure, plain, short, styled
from geomlab.results.overlap import Overlap, Place, overlaps

TITLE = "Overlap of the top eigenspaces"
VALUE = "mean squared cosine"
HALVES = "two halves of the same samples"


def plot(data: xr.Dataset, ax: Axes) -> AxesImage:
    """Draw what each two top eigenspaces share; outlined and in italics, what two halves of the same samples share.

    Args:
        data: measurement `curvature` of one or several checkpoints.
        ax: to draw into.

    Returns:
        The image, for a colour bar. What cannot be compared stays grey.
    """
    places = _places(data)
    shared, _ = _matrix(data, places)
    ax.set_facecolor(heat.MISSING)
    ax.grid(visible=False)
    image = ax.imshow(np.ma.masked_invalid(shared), cmap=heat.COLOURS, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(shared):
        ink, style = heat.ink(value), "italic" if row == column else "normal"
        if np.isfinite(value):
            text = ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5)
            text.set(color=ink, fontstyle=style)
        if row == column:
            ax.add_patch(Rectangle((column - 0.42, row - 0.4), 0.84, 0.8, fill=False, ec=ink, lw=0.7))
    _name_places(ax, places, [_converged(data, place) for place in places])
    _part_checkpoints(ax, places)
    return image


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """`plot` of all places, with a colour bar."""
    width = COLUMN if len(select.checkpoints(data)) == 1 else PAGE
    fig = new_figure(width, 1.5 + 0.24 * max(len(_places(data)), 2), title)
    ax = fig.subplots()
    bar = fig.colorbar(plot(data, ax), ax=ax, label=VALUE, pad=0.02, aspect=22, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.outline.set_visible(False)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser; the diagonal is a trace of its own."""
    places = _places(data)
    shared, found = _matrix(data, places)
    own = np.eye(len(places), dtype=bool)
    several = len(select.checkpoints(data)) > 1
    names = [_name(place, several=several) for place in places]
    ends = ["" if _converged(data, place) else " (not converged)" for place in places]
    full = [name + end for name, end in zip(names, ends, strict=True)]
    hover = np.full(shared.shape, "", dtype=object)
    for (i, j), one in found.items():
        hover[i, j] = f"{full[i]}<br>{full[j]}<br>{_words(one)}"
    for i, name in enumerate(full):
        hover[i, i] = f"{name}<br>{HALVES} share {shared[i, i]:.3f}"
    fig = go.Figure()
    for mask, form in ((~own, "{:.2f}"), (own, "<i>{:.2f}</i>")):
        shown = np.where(mask, shared, np.nan)
        fig.add_heatmap(
            z=shown,
            text=[[form.format(value) if np.isfinite(value) else "" for value in row] for row in shown],
            texttemplate="%{text}",
            customdata=np.where(mask, hover, ""),
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
        )
    for i, value in enumerate(shared.diagonal()):
        corners = {"x0": i - 0.45, "x1": i + 0.45, "y0": i - 0.42, "y1": i + 0.42}
        fig.add_shape(**corners, line={"color": heat.ink(value), "width": 1})
    ticks: dict[str, Any] = {"tickvals": list(range(len(places))), "ticktext": names, "showgrid": False}
    fig.update_xaxes(**ticks, tickangle=-35, zeroline=False)
    fig.update_yaxes(**ticks, autorange="reversed", zeroline=False)
    fig.update_layout(coloraxis=heat.colour_axis(VALUE))
    fig = finish(fig, title, 150 + 34 * max(len(places), 3))
    fig.update_layout(plot_bgcolor=heat.MISSING_HTML)
    return fig


def _places(data: xr.Dataset) -> list[Place]:
    """Where a top eigenspace was measured, checkpoint by checkpoint."""
    return [
        Place(checkpoint, condition)
        for checkpoint, one in select.per_checkpoint(data)
        for condition, _ in select.per_condition(one, "eigenvector_sketch")
    ]


def _matrix(data: xr.Dataset, places: list[Place]) -> tuple[Array, dict[tuple[int, int], Overlap]]:
    """(places, places) what is shared, on the diagonal that of halves, NaN where it is not known; and the pairs."""
    shared = np.full((len(places), len(places)), np.nan)
    for i, place in enumerate(places):
        one = data.sel(checkpoint=place.checkpoint, condition=place.condition)
        shared[i, i] = float(select.numbers(one, "halves_overlap"))
    found = {}
    for overlap in overlaps(data):
        i, j = (places.index(place) for place in overlap.places)
        shared[i, j] = shared[j, i] = overlap.shared
        found[i, j] = found[j, i] = overlap
    return shared, found


def _converged(data: xr.Dataset, place: Place) -> bool:
    """Whether all the eigenpairs did that span the space."""
    one = data.sel(checkpoint=place.checkpoint, condition=place.condition)
    return not np.equal(select.numbers(one, "converged"), 0).any()


def _name_places(ax: Axes, places: list[Place], converged: list[bool]) -> None:
    """The conditions at the axes, with a star at those that did not converge, and what signs mean."""
    names = [
        plain(short(place.condition, 18)) + ("" if done else "*")
        for place, done in zip(places, converged, strict=True)
    ]
    ax.set_yticks(range(len(places)), names)
    ax.set_xticks(range(len(places)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    said = [f"outlined: {HALVES}", *([] if all(converged) else ["* not converged"])]
    ax.set_xlabel("; ".join(said), fontsize=6.5, color=REMARK)


def _part_checkpoints(ax: Axes, places: list[Place]) -> None:
    """Lines between the checkpoints, and their names above and on the right."""
    names = list(dict.fromkeys(place.checkpoint for place in places))
    if len(names) == 1:
        return
    first = 0
    for name in names:
        count = sum(place.checkpoint == name for place in places)
        middle, flat = first + (count - 1) / 2, count < 3
        room = 14 if flat else int(3.5 * count), max(4, 70 * count // len(places))  # letters, of a page
        beside, above = (plain(short(name, letters)) for letters in room)
        across, along = ax.get_xaxis_transform(), ax.get_yaxis_transform()
        ax.text(middle, 1.02, above, transform=across, ha="center", va="bottom", fontsize=8)
        turn = 0 if flat else -90
        ax.text(1.01, middle, beside, transform=along, ha="left", va="center", fontsize=8, rotation=turn)
        if first:
            ax.axhline(first - 0.5, color="white", linewidth=2)
            ax.axvline(first - 0.5, color="white", linewidth=2)
        first += count


def _name(place: Place, *, several: bool) -> str:
    name = short(place.condition, 22)
    return escape(f"{short(place.checkpoint, 16)}: {name}" if several else name)


def _words(one: Overlap) -> str:
    """An overlap in words, with what to hold it against."""
    halves = " and ".join(f"{value:.2f}" for value in one.halves)
    return (
        f"share {one.shared:.3f}; halves of each one's samples {halves}, chance {one.chance:.1g}<br>"
        f"cosines of the principal angles {one.cosines[0]:.3f} to {one.cosines[-1]:.3f}"
    )
