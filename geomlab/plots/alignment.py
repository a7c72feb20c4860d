"""How features move, layer by layer: against the clean ones, the reference's, those at perturbed weights, and alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from geomlab.plots import bands, layerwise, select
from geomlab.plots.measures import TO_CLEAN, Group, Measure
from geomlab.plots.scales import Array, Scale, choose
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

NAMED = 14  # layer names that fit below a panel
STILL = "#888888"


@dataclass(frozen=True)
class Panel:
    """What a panel shows.

    Attributes:
        checkpoint: its number and name.
        data: of the checkpoint.
        measure: the number that is drawn.
        layers: of the x axis: those at which the checkpoint has any number of the group.
        place: its row and column.
    """

    checkpoint: tuple[int, str]
    data: xr.Dataset
    measure: Measure
    layers: list[str]
    place: tuple[int, int]


def plot(data: xr.Dataset, ax: Axes, measure: Measure = TO_CLEAN.measures[0]) -> list[Drawn]:
    """Draw one measure over the layers of one checkpoint, one curve a condition, with 95 % bands.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        measure: one of the groups' in `plots/measures.py`.
    """
    return _plot(data, ax, measure, select.layers(data, measure.variable))


def _plot(data: xr.Dataset, ax: Axes, measure: Measure, names: list[str]) -> list[Drawn]:
    artists = bands.draw(data, ax, measure.variable, _shown(data, measure), names, positive=measure.wide)
    if measure.still is not None:
        ax.axhline(measure.still, color=STILL, linewidth=0.6, zorder=1)
    layerwise.name_layers(ax, names, most=NAMED)
    ax.set(xlabel="layer", ylabel=measure.label)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TO_CLEAN.title, group: Group = TO_CLEAN) -> Figure:
    """Panels of a group; a measure has one scale in all checkpoints, which follow below one another."""
    count, several = len(_there(data, group)), len(select.checkpoints(data)) > 1
    panels = list(_panels(data, group, 4 if several and count == 4 else 2 if count == 4 else min(count, 3)))
    rows, columns = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    same = len({tuple(one.layers) for one in panels}) == 1
    fig = new_figure(PAGE, 1.35 + (1.3 if same else 1.8) * rows, title)
    axes = fig.subplots(rows, columns, squeeze=False)
    for panel in panels:
        ax = axes[panel.place]
        _plot(panel.data, ax, panel.measure, panel.layers)
        scale = _scale(data, panel.measure)
        scale.apply(ax)
        if scale.kind == "linear":  # ticks that do not hang on the height, which the layout has yet to choose
            ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        ax.set_xlabel("")  # said once, below
        if several and panel.measure == panels[0].measure:
            ax.set_title(plain(short(panel.checkpoint[1], 24)))
        ax.tick_params(labelbottom=not (same and _below(panel, panels)))
    for measure in dict.fromkeys(one.measure for one in panels):
        alike = [axes[one.place] for one in panels if one.measure == measure]
        low, high = zip(*(ax.get_ylim() for ax in alike), strict=True)
        for ax in alike:
            ax.set_ylim(min(low), max(high))
    for ax in axes.ravel():
        if not ax.has_data():
            ax.remove()
    about = layerwise.axis_label(panels[0].layers, most=NAMED)
    legend(fig, _legend(data, panels), heading=about)
    return fig


def interactive(data: xr.Dataset, title: str = TO_CLEAN.title, group: Group = TO_CLEAN) -> go.Figure:
    """The same for a browser."""
    parts, count = select.checkpoints(data), len(_there(data, group))
    panels = list(_panels(data, group, 2 if count == 4 else min(count, 3)))
    rows, columns = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    titles = {
        one.place: (f"{escape(short(one.checkpoint[1], 20))}: " if len(parts) > 1 else "")
        + escape(one.measure.label)
        for one in panels
    }
    fig = make_subplots(
        rows,
        columns,
        subplot_titles=[titles.get((i, j), "") for i in range(rows) for j in range(columns)],
        vertical_spacing=0.36 / rows,
    )
    named: set[str] = set()
    for panel in panels:
        where, measure = {"row": panel.place[0] + 1, "col": panel.place[1] + 1}, panel.measure
        scale, shown = _scale(data, measure), _shown(panel.data, measure)
        for trace in bands.traces(
            panel.data, measure.variable, shown, panel.layers, scale, positive=measure.wide
        ):
            trace.showlegend = trace.showlegend is not False and trace.legendgroup not in named
            named |= {trace.legendgroup} if trace.showlegend else set()
            fig.add_trace(trace, **where)
        fig.update_xaxes(**layerwise.plotly_axis(panel.layers), **where)
        fig.update_yaxes(**_axis(data, measure, scale), **where)
        if measure.still is not None:
            fig.add_hline(y=measure.still, line={"color": GREY, "width": 1}, layer="below", **where)
    return finish(fig, title, 90 + 290 * rows)


def _there(data: xr.Dataset, group: Group) -> list[Measure]:
    """The measures of which there is a curve: older results may lack some."""
    parts = [one for _, one in select.per_checkpoint(data)]
    return [
        measure for measure in group.measures if any(True for one in parts for _ in _curves(one, measure))
    ]


def _panels(data: xr.Dataset, group: Group, across: int) -> Iterator[Panel]:
    """Block by block, one a checkpoint."""
    measures = _there(data, group)
    for i, (name, one) in enumerate(select.per_checkpoint(data)):
        found = {layer for measure in measures for layer in select.layers(one, measure.variable)}
        layers = [str(layer) for layer in one["layer"].values if layer in found]
        for j, measure in enumerate(measures):
            place = i * ceil(len(measures) / across) + j // across, j % across
            yield Panel((i, name), one, measure, layers, place)


def _below(panel: Panel, panels: list[Panel]) -> bool:
    """Whether another panel lies below, in the same column."""
    return any(one.place[0] > panel.place[0] and one.place[1] == panel.place[1] for one in panels)


def _shown(data: xr.Dataset, measure: Measure) -> dict[str, Look]:
    """The conditions of a panel: where clean inputs say nothing, without them, unless there are no others."""
    shown = looks(select.conditions(data))
    moved = {name: look for name, look in shown.items() if kind(name) != "clean"}
    if measure.of_clean or not moved or not np.isfinite(_of(data, measure, list(moved))).any():
        return shown
    return moved


def _of(data: xr.Dataset, measure: Measure, conditions: list[str]) -> Array:
    """The numbers of some conditions."""
    part = data.sel(condition=conditions) if "condition" in data.dims else data
    return select.numbers(part, measure.variable)


def _legend(data: xr.Dataset, panels: list[Panel]) -> dict[str, Look]:
    """The conditions that some panel shows."""
    found = {name for panel in panels for name in _shown(data, panel.measure)}
    return {name: look for name, look in looks(select.conditions(data)).items() if name in found}


def _curves(one: xr.Dataset, measure: Measure) -> Iterator[bands.Curve]:
    """A measure at all layers."""
    names = [str(name) for name in one["layer"].values]
    return bands.curves(one, measure.variable, _shown(one, measure), names, positive=measure.wide)


def _ends(data: xr.Dataset, measure: Measure) -> Array:
    """The finite ends of all bands of a measure, and what did not move."""
    found = [np.full(1, np.nan if measure.still is None else measure.still)]
    for _, one in select.per_checkpoint(data):
        for curve in _curves(one, measure):
            found += [curve.low, curve.high]
    ends = np.concatenate(found)
    return np.asarray(ends[np.isfinite(ends)])


def _scale(data: xr.Dataset, measure: Measure) -> Scale:
    return choose(_ends(data, measure)) if measure.wide else Scale("linear")


def _axis(data: xr.Dataset, measure: Measure, scale: Scale) -> dict[str, object]:
    """One range for all checkpoints."""
    ends = _ends(data, measure)
    return scale.plotly_axis(ends) if scale.kind == "symlog" else scale.plotly_range(ends)
