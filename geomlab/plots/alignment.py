"""How features move: similarity to the clean features, and to the reference's, layer by layer."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import layerwise, select
from geomlab.plots.scales import Scale
from geomlab.plots.style import (
    GREY,
    PAGE,
    Drawn,
    Look,
    escape,
    finish,
    kind,
    legend,
    looks,
    new_figure,
    plain,
    short,
    styled,
)

TITLE = "Features under each condition against the clean features"
REFERENCE_TITLE = "Features against those of the reference, on the same inputs"


@dataclass(frozen=True)
class Measure:
    """One panel: a variable, its label in both libraries, and the value of features that did not move."""

    variable: str
    label: str
    html: str
    still: float


TO_CLEAN = (
    Measure("cka_to_clean", "CKA to clean", "CKA to clean", 1.0),
    Measure("gram_drift", "Gram drift", "Gram drift", 0.0),
    Measure("centroid_cosine", "centroid cosine", "centroid cosine", 1.0),
    Measure("delta_lid", r"$\Delta$LID", "ΔLID", 0.0),
)
TO_REFERENCE = (
    Measure("reference_cka", "CKA to reference", "CKA to reference", 1.0),
    Measure("reference_gram_drift", "Gram drift", "Gram drift", 0.0),
    Measure("reference_procrustes", "Procrustes distance", "Procrustes distance", 0.0),
)
NAMED = 14  # layer names that fit below a panel
LINEAR = Scale("linear")


def plot(data: xr.Dataset, ax: Axes, measure: Measure = TO_CLEAN[0]) -> list[Drawn]:
    """Draw one measure over the layers of one checkpoint, one series a condition, with standard errors.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        measure: one of TO_CLEAN or TO_REFERENCE.
    """
    shown = _shown(data, measure)
    artists = layerwise.draw(data, ax, measure.variable, shown, dodge=0.1)
    ax.axhline(measure.still, color="#888888", linewidth=0.6, zorder=1)
    layerwise.name_layers(ax, select.layers(data, measure.variable), most=NAMED)
    ax.set(xlabel="layer", ylabel=measure.label)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE, measures: tuple[Measure, ...] = TO_CLEAN) -> Figure:
    """Panels of `plot`: a column a measure, a row a checkpoint; a column has one scale."""
    parts = list(select.per_checkpoint(data))
    rows, columns = (2, 2) if len(parts) == 1 and len(measures) == 4 else (len(parts), len(measures))
    several, same = len(parts) > 1, _same_layers(data, measures)
    fig = new_figure(PAGE, 1.35 + (1.3 if same else 1.8) * rows, title)
    axes = fig.subplots(rows, columns, sharey="col" if several else False, squeeze=False)
    cells = [(name, one, measure) for name, one in parts for measure in measures]
    for place, (ax, (name, one, measure)) in enumerate(zip(axes.ravel(), cells, strict=True)):
        plot(one, ax, measure)
        ax.set_xlabel("")  # said once, below
        if several:
            ax.set_title(plain(short(name, 24)) if place % columns == 0 else "")
        if same and place < (rows - 1) * columns:
            ax.tick_params(labelbottom=False)
    about = layerwise.axis_label(select.layers(parts[0][1], measures[0].variable), most=NAMED)
    legend(fig, _shown(data, measures[0]), heading=about)
    return fig


def reference_figure(data: xr.Dataset, title: str = REFERENCE_TITLE) -> Figure:
    """The same against the reference."""
    return figure(data, title, TO_REFERENCE)


def interactive(data: xr.Dataset, title: str = TITLE, measures: tuple[Measure, ...] = TO_CLEAN) -> go.Figure:
    """The same for a browser."""
    parts = list(select.per_checkpoint(data))
    across = 2 if len(measures) == 4 else 3
    per_part = len(measures) // across
    rows = len(parts) * per_part
    prefix = [f"{escape(short(name, 20))}: " if len(parts) > 1 else "" for name, _ in parts]
    titles = [start + measure.html for start in prefix for measure in measures]
    fig = make_subplots(rows, across, subplot_titles=titles, vertical_spacing=0.36 / rows)
    for i, (_, one) in enumerate(parts):
        for j, measure in enumerate(measures):
            where = {"row": i * per_part + j // across + 1, "col": j % across + 1}
            for trace in layerwise.traces(
                one, measure.variable, _shown(one, measure), LINEAR, first=i == j == 0
            ):
                fig.add_trace(trace, **where)
            fig.update_xaxes(**layerwise.plotly_axis(select.layers(one, measure.variable)), **where)
            fig.update_yaxes(range=_range(data, measure), **where)
            fig.add_hline(y=measure.still, line={"color": GREY, "width": 1}, layer="below", **where)
    return finish(fig, title, 90 + 290 * rows)


def reference_interactive(data: xr.Dataset, title: str = REFERENCE_TITLE) -> go.Figure:
    """The same against the reference, for a browser."""
    return interactive(data, title, TO_REFERENCE)


def _shown(data: xr.Dataset, measure: Measure) -> dict[str, Look]:
    """The conditions of a panel: against clean, clean itself says nothing."""
    shown = looks(select.conditions(data))
    if measure in TO_CLEAN and len(shown) > 1:
        return {name: look for name, look in shown.items() if kind(name) != "clean"}
    return shown


def _same_layers(data: xr.Dataset, measures: tuple[Measure, ...]) -> bool:
    found = {
        tuple(select.layers(one, measure.variable))
        for _, one in select.per_checkpoint(data)
        for measure in measures
    }
    return len(found) == 1


def _range(data: xr.Dataset, measure: Measure) -> list[float] | None:
    """One range for all checkpoints."""
    y, bar = select.numbers(data, measure.variable), select.errors(data, measure.variable)
    ends = np.array([y - bar, y + bar])
    ends = np.append(ends[np.isfinite(ends)], measure.still)
    margin = 0.05 * (ends.max() - ends.min() or 1.0)
    return [float(ends.min() - margin), float(ends.max() + margin)]
