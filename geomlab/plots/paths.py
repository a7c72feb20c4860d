"""Loss along paths from the reference to the network, and how like their features are to those at the ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.axes import moved
from geomlab.plots.scales import Array, Scale, choose
from geomlab.plots.style import (
    PAGE,
    Drawn,
    Look,
    escape,
    finish,
    legend,
    lines,
    looks,
    new_figure,
    plain,
    short,
    styled,
)
from geomlab.stats import Z95, positive_interval

TITLE = "Loss along paths from the reference to the network"
BARRIER = "dotted: straight between the losses at the ends; the stroke up from there is the barrier"
LABELS = {"loss": "cross-entropy (nats)", "cka_to_start": "CKA to reference", "cka_to_end": "CKA to network"}
ACROSS = 3  # panels side by side
ALONG = "t (0: reference, 1: network)"


@dataclass(frozen=True)
class Panel:
    """What a panel shows.

    Attributes:
        checkpoint: name, "" where there is one only.
        path: its SPEC.
        variable: of `LABELS`.
        data: of the checkpoint and the path.
        place: its row and column.
    """

    checkpoint: str
    path: str
    variable: str
    data: xr.Dataset
    place: tuple[int, int]

    @property
    def title(self) -> str:
        """Which path, of which checkpoint."""
        return f"{short(self.checkpoint, 14)}: {self.path}" if self.checkpoint else self.path


def plot(data: xr.Dataset, ax: Axes, variable: str = "loss", scale: Scale | None = None) -> list[Drawn]:
    """Draw loss or CKA along one path of one checkpoint, one line a condition, with 95 % bands.

    The loss has the straight line between its ends (dotted), and its largest rise over that, the barrier (upright).

    Args:
        data: measurement `paths` of one checkpoint and one path.
        ax: to draw into.
        variable: of `LABELS`.
        scale: of the y axis; by default what the numbers ask for.
    """
    artists: list[Drawn] = []
    for curve in _curves(data, variable):
        look = curve.look
        artists.append(
            ax.fill_between(curve.t, curve.low, curve.high, color=look.color, alpha=0.2, linewidth=0)
        )
        artists += ax.plot(
            curve.t,
            curve.y,
            color=look.color,
            linestyle=look.dash,
            marker=look.marker,
            markevery=max(1, len(curve.t) // 6),
            ms=3,
        )
        if variable == "loss":
            straight, at = curve.straight, curve.barrier_at
            artists += ax.plot(curve.t, straight, color=look.color, linestyle=":", linewidth=0.8)
            artists.append(ax.vlines(curve.t[at], straight[at], curve.y[at], color=look.color, linewidth=0.8))
    (scale or _scale(data, variable)).apply(ax)
    ax.set(xlabel=ALONG, ylabel=LABELS[variable], xlim=(-0.02, 1.02))
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot`, a path each; below the losses of a checkpoint its CKA, where that was asked for."""
    panels = list(_panels(data))
    rows, across = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    heading = lines(title, moved(data, "loss"), _trained(data), BARRIER)
    fig = new_figure(PAGE, 1.15 + 1.65 * rows, heading)
    axes = fig.subplots(rows, across, squeeze=False)
    drawn: dict[str, list[Axes]] = {}
    for panel in panels:
        ax = axes[panel.place]
        plot(panel.data, ax, panel.variable, _scale(data, panel.variable))
        ax.set_title(plain(panel.title))
        drawn.setdefault(panel.variable.partition("_")[0], []).append(ax)
        if not _labelled(panel, panels):
            ax.set_ylabel("")
        if any(below.place == (panel.place[0] + 1, panel.place[1]) for below in panels):
            ax.set_xlabel("")
    for alike in drawn.values():
        low, high = zip(*(ax.get_ylim() for ax in alike), strict=True)
        for ax in alike:
            ax.set_ylim(min(low), max(high))
    for ax in axes.ravel():
        if not ax.has_data():
            ax.remove()
    legend(fig, looks(select.conditions(data)))
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    panels = list(_panels(data))
    rows, across = (max(one.place[i] for one in panels) + 1 for i in (0, 1))
    titles = {one.place: escape(one.title) for one in panels}
    fig = make_subplots(
        rows,
        across,
        subplot_titles=[titles.get((i, j), "") for i in range(rows) for j in range(across)],
        vertical_spacing=0.28 / rows,
    )
    for number, panel in enumerate(panels):
        where = {"row": panel.place[0] + 1, "col": panel.place[1] + 1}
        for trace in _traces(panel, legend=number == 0):
            fig.add_trace(trace, **where)
        fig.update_xaxes(title_text=ALONG, range=[-0.02, 1.02], **where)
        fig.update_yaxes(title_text=LABELS[panel.variable] if _labelled(panel, panels) else "", **where)
        fig.update_yaxes(**_range(data, panel.variable), **where)
    return finish(fig, lines(title, moved(data, "loss"), _trained(data), BARRIER), 90 + 300 * rows)


@dataclass(frozen=True)
class _Curve:
    """A line of a panel, with the ends of its 95 % intervals."""

    name: str
    look: Look
    t: Array
    y: Array
    low: Array
    high: Array

    @property
    def straight(self) -> Array:
        """The straight line between its ends."""
        return np.asarray(self.y[0] + self.t * (self.y[-1] - self.y[0]))

    @property
    def barrier_at(self) -> int:
        """Where it rises highest above that."""
        return int(np.argmax(self.y - self.straight))


def _curves(data: xr.Dataset, variable: str) -> Iterator[_Curve]:
    """The lines of a panel, at the points where there is a value."""
    shown = looks(select.conditions(data))
    for name, one in select.per_condition(data, variable):
        part = one.isel(t=np.isfinite(select.numbers(one, variable)))
        y, error = select.numbers(part, variable), select.errors(part, variable)
        low, high = y - Z95 * error, y + Z95 * error
        if variable == "loss":
            low, high = np.array([positive_interval(*pair) for pair in zip(y, error, strict=True)]).T
        yield _Curve(name, shown[name], select.numbers(part, "t"), y, low, high)


def _panels(data: xr.Dataset) -> Iterator[Panel]:
    """The panels, row by row: of each checkpoint its losses, then its CKA to either end, in one row if that fits."""
    row, several = 0, len(select.checkpoints(data)) > 1
    for name, one in select.per_checkpoint(data):
        losses, *similar = (
            [(str(path), variable) for path in one["path"].values if _there(one.sel(path=path), variable)]
            for variable in LABELS
        )
        if sum(map(len, similar)) <= ACROSS:
            similar = [[cell for group in similar for cell in group]]
        for group in (losses, *similar):
            for number, (path, variable) in enumerate(group):
                place = row + number // ACROSS, number % ACROSS
                yield Panel(name if several else "", path, variable, one.sel(path=path), place)
            row += ceil(len(group) / ACROSS)


def _there(one: xr.Dataset, variable: str) -> bool:
    return bool(np.isfinite(select.numbers(one, variable)).any())


def _labelled(panel: Panel, panels: list[Panel]) -> bool:
    """Whether a panel's y axis needs its label: not beside one of the same."""
    left = (panel.place[0], panel.place[1] - 1)
    return not any(one.place == left and one.variable == panel.variable for one in panels)


def _traces(panel: Panel, *, legend: bool) -> Iterator[go.Scatter]:
    for curve in _curves(panel.data, panel.variable):
        look = curve.look
        common = {"legendgroup": curve.name, "name": escape(curve.name), "x": curve.t}
        quiet = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
        yield go.Scatter(y=curve.low, line={"width": 0}, **common, **quiet)
        yield go.Scatter(
            y=curve.high, line={"width": 0}, fill="tonexty", fillcolor=look.faint(), **common, **quiet
        )
        if panel.variable == "loss":
            dots = {"color": look.color, "dash": "dot", "width": 1}
            yield go.Scatter(y=curve.straight, line=dots, **common, **quiet)
        yield go.Scatter(
            y=curve.y,
            **common,
            mode="lines+markers",
            line={"color": look.color, "dash": look.plotly_dash},
            marker={"symbol": look.symbol, "size": 5},
            customdata=np.stack([curve.low, curve.high], axis=1),
            hovertemplate="t = %{x:.3g}: %{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
            showlegend=legend,
        )


def _trained(data: xr.Dataset) -> str:
    """A line on the samples that paths were trained on; "" where none was."""
    found = select.numbers(data, "n_trained")
    counts = dict.fromkeys(f"{count:.0f}" for count in np.unique(found[np.isfinite(found)]) if count)
    return f"curves trained on {'–'.join(counts)} other, clean samples" if counts else ""


def _scale(data: xr.Dataset, variable: str) -> Scale:
    return choose(select.numbers(data, variable)) if variable == "loss" else Scale("linear")


def _range(data: xr.Dataset, variable: str) -> dict[str, object]:
    """One range for all panels of a kind."""
    of_kind = ("loss",) if variable == "loss" else ("cka_to_start", "cka_to_end")
    y = np.concatenate([select.numbers(data, name).ravel() for name in of_kind])
    return _scale(data, variable).plotly_range(y)
