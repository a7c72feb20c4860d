"""The spectrum of the features' covariance: the share of the variance along each principal component."""

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
from geomlab.plots.facets import ACROSS, panelled
from geomlab.plots.scales import Array, Scale
from geomlab.plots.style import Drawn, Look, escape, finish, legend, looks, short, styled

TITLE = "Variance along the principal components"
VARIABLE = "variance_share"
LABEL, COMPONENT = "share of the variance", "principal component"
LOG = Scale("log")
LEAST = 1e-6  # of the variance: less is rounding of single precision


@dataclass(frozen=True)
class Curve:
    """The shares of a condition's components, by their number from 1, with the ends of their 95 % intervals."""

    condition: str
    look: Look
    x: Array
    y: Array
    low: Array
    high: Array


def plot(data: xr.Dataset, ax: Axes) -> list[Drawn]:
    """Draw the spectrum of one checkpoint's last layer, one curve a condition, with 95 % bands.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
    """
    artists: list[Drawn] = []
    for one in _curves(data):
        look = one.look
        artists.append(ax.fill_between(one.x, one.low, one.high, color=look.color, alpha=0.2, linewidth=0))
        artists += ax.plot(
            one.x, one.y, color=look.color, ls=look.dash, lw=0.9, marker=look.marker, ms=2.6, markevery=0.12
        )
    for axis in ("x", "y"):
        LOG.apply(ax, axis)
    ax.set(xlabel=COMPONENT, ylabel=LABEL)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Facets of `plot`, one a checkpoint, on one scale."""
    fig = panelled(data, title, plot, label=COMPONENT, above=1.1)
    legend(fig, looks(select.conditions(data)), columns=3 if len(select.checkpoints(data)) == 1 else 5)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts = list(select.per_checkpoint(data))
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    names = [escape(short(name, 26)) for name, _ in parts] if len(parts) > 1 else None
    fig = make_subplots(rows, across, shared_yaxes="all", subplot_titles=names, vertical_spacing=0.25 / rows)
    for place, (_, checkpoint) in enumerate(parts):
        where = {"row": place // across + 1, "col": place % across + 1}
        for one in _curves(checkpoint):
            for trace in _traces(one, first=place == 0):
                fig.add_trace(trace, **where)
    every = [one for _, part in parts for one in _curves(part)]
    x, y = (np.concatenate([np.ravel(ends) for ends in both]) for both in _ends(every))
    fig.update_xaxes(title_text=COMPONENT, **LOG.plotly_range(x))
    fig.update_yaxes(**LOG.plotly_range(y))
    fig.update_yaxes(title_text=LABEL, col=1)
    return finish(fig, title, 90 + 320 * rows)


def _ends(every: list[Curve]) -> tuple[list[Array], list[Array]]:
    return [one.x for one in every], [end for one in every for end in (one.low, one.high)]


def _curves(data: xr.Dataset) -> Iterator[Curve]:
    """Of the last layer: symmetric intervals of the logarithm, as of any positive number."""
    last = select.only(data, VARIABLE).isel(layer=-1)
    shown = looks(select.conditions(data))
    for name, one in select.per_condition(last, VARIABLE):
        y, half = select.numbers(one, VARIABLE), select.jackknife_half_widths(one, VARIABLE)
        kept = y > LEAST
        if kept.any():
            x, y, half = np.arange(1.0, len(y) + 1)[kept], y[kept], half[kept]
            factor = np.exp(half / y)
            yield Curve(name, shown[name], x, y, y / factor, y * factor)


def _traces(one: Curve, *, first: bool) -> Iterator[go.Scatter]:
    look = one.look
    common = {"x": one.x, "name": escape(one.condition), "legendgroup": one.condition}
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    yield go.Scatter(y=one.low, **common, **edge)
    yield go.Scatter(y=one.high, fill="tonexty", fillcolor=look.faint(), **common, **edge)
    yield go.Scatter(
        y=one.y,
        **common,
        showlegend=first,
        mode="lines",
        line={"color": look.color, "dash": look.plotly_dash, "width": 1.5},
        customdata=np.stack([one.low, one.high], axis=1),
        hovertemplate="component %{x}: %{y:.3%}<br>95 %: %{customdata[0]:.3%} to %{customdata[1]:.3%}",
    )
