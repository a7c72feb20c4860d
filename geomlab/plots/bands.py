"""Curves over the layers of a network: one a condition, with 95 % bands, in both libraries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes

from geomlab.plots import layerwise, select
from geomlab.plots.scales import Array, Scale
from geomlab.plots.style import Drawn, Look, escape


@dataclass(frozen=True)
class Curve:
    """A condition's values at the layers, with half lengths of their 95 % intervals."""

    condition: str
    look: Look
    y: Array
    half: Array


def curves(data: xr.Dataset, variable: str, shown: dict[str, Look], names: Sequence[str]) -> Iterator[Curve]:
    """The curves of one checkpoint, NaN at layers without a value."""
    for condition, one in select.per_condition(select.only(data, variable), variable):
        if condition in shown:
            part = one.sel(layer=list(names))
            half = select.jackknife_half_widths(part, variable)
            yield Curve(condition, shown[condition], select.numbers(part, variable), half)


def draw(
    data: xr.Dataset, ax: Axes, variable: str, shown: dict[str, Look], names: Sequence[str]
) -> list[Drawn]:
    """Draw a variable over the layers of one checkpoint; of a single layer, which no band shows, with bars.

    Args:
        data: of one checkpoint.
        ax: to draw into.
        variable: of dimension layer, with a `_stderr` of the jackknife beside it.
        shown: condition -> look.
        names: of the layers, in order.
    """
    artists: list[Drawn] = []
    x = np.arange(len(names))
    for one in curves(data, variable, shown, names):
        look = one.look
        if len(names) == 1:
            artists.append(ax.errorbar(x, one.y, one.half, color=look.color, ls="none", lw=0.8))
        else:
            low, high = one.y - one.half, one.y + one.half
            artists.append(ax.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0))
        artists += ax.plot(x, one.y, color=look.color, ls=look.dash, lw=0.9, marker=look.marker, ms=2.6)
    return artists


def traces(
    data: xr.Dataset,
    variable: str,
    shown: dict[str, Look],
    names: Sequence[str],
    scale: Scale,
    *,
    first: bool,
) -> Iterator[go.Scatter]:
    """The same for plotly, with full layer names and values in the hover text.

    Args:
        data: of one checkpoint.
        variable: of dimension layer, with a `_stderr` of the jackknife beside it.
        shown: condition -> look.
        names: of the layers, in order.
        scale: of the y axis.
        first: whether these traces are those in the legend.
    """
    x = np.arange(len(names))
    for one in curves(data, variable, shown, names):
        look, y, half = one.look, one.y, one.half
        common = {"x": x, "name": escape(one.condition), "legendgroup": one.condition}
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        if len(names) > 1:
            yield go.Scatter(y=scale.forward(y - half), **common, **edge)
            yield go.Scatter(
                y=scale.forward(y + half), fill="tonexty", fillcolor=look.faint(), **common, **edge
            )
        yield go.Scatter(
            y=scale.forward(y),
            error_y=layerwise.error_bars(y, half, scale) if len(names) == 1 else None,
            **common,
            showlegend=first,
            mode="lines+markers",
            line={"color": look.color, "dash": look.plotly_dash, "width": 1.5},
            marker={"symbol": look.symbol, "size": 6},
            customdata=[[escape(n), v, e] for n, v, e in zip(names, y.tolist(), half.tolist(), strict=True)],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]:.4g} ± %{customdata[2]:.2g} (95 %)",
        )
