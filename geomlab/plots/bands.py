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
    """A condition's values at the layers, with the ends of their 95 % intervals."""

    condition: str
    look: Look
    y: Array
    low: Array
    high: Array


def curves(
    data: xr.Dataset, variable: str, shown: dict[str, Look], names: Sequence[str], *, positive: bool = False
) -> Iterator[Curve]:
    """The curves of one checkpoint, NaN at layers without a value.

    Of a positive number the interval is symmetric in its logarithm (`features.intervals.exponential`).
    """
    for condition, one in select.per_condition(select.only(data, variable), variable):
        if condition in shown:
            part = one.sel(layer=list(names))
            half = select.jackknife_half_widths(part, variable)
            y = select.numbers(part, variable)
            if positive:
                factor = np.exp(half / np.where(y > 0, y, np.nan))
                yield Curve(condition, shown[condition], y, y / factor, y * factor)
            else:
                yield Curve(condition, shown[condition], y, y - half, y + half)


def draw(
    data: xr.Dataset,
    ax: Axes,
    variable: str,
    shown: dict[str, Look],
    names: Sequence[str],
    *,
    positive: bool = False,
) -> list[Drawn]:
    """Draw a variable over the layers of one checkpoint; of a single layer, which no band shows, with bars.

    Args:
        data: of one checkpoint.
        ax: to draw into.
        variable: of dimension layer, with a `_stderr` of the jackknife beside it.
        shown: condition -> look.
        names: of the layers, in order.
        positive: as of `curves`.
    """
    artists: list[Drawn] = []
    x = np.arange(len(names))
    for one in curves(data, variable, shown, names, positive=positive):
        look = one.look
        if len(names) == 1:
            bars = np.array([one.y - one.low, one.high - one.y])
            artists.append(ax.errorbar(x, one.y, bars, color=look.color, ls="none", lw=0.8))
        else:
            artists.append(ax.fill_between(x, one.low, one.high, color=look.color, alpha=0.2, linewidth=0))
        artists += ax.plot(x, one.y, color=look.color, ls=look.dash, lw=0.9, marker=look.marker, ms=2.6)
    return artists


def traces(
    data: xr.Dataset,
    variable: str,
    shown: dict[str, Look],
    names: Sequence[str],
    scale: Scale,
    *,
    positive: bool = False,
) -> Iterator[go.Scatter]:
    """The same for plotly, with full layer names and values in the hover text.

    Args:
        data: of one checkpoint.
        variable: of dimension layer, with a `_stderr` of the jackknife beside it.
        shown: condition -> look.
        names: of the layers, in order.
        scale: of the y axis.
        positive: as of `curves`.
    """
    x = np.arange(len(names))
    for one in curves(data, variable, shown, names, positive=positive):
        look, y = one.look, one.y
        common = {"x": x, "name": escape(one.condition), "legendgroup": one.condition}
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        if len(names) > 1:
            yield go.Scatter(y=scale.forward(one.low), **common, **edge)
            yield go.Scatter(
                y=scale.forward(one.high), fill="tonexty", fillcolor=look.faint(), **common, **edge
            )
        yield go.Scatter(
            y=scale.forward(y),
            error_y=layerwise.error_bars(y, one.low, one.high, scale) if len(names) == 1 else None,
            **common,
            mode="lines+markers",
            line={"color": look.color, "dash": look.plotly_dash, "width": 1.5},
            marker={"symbol": look.symbol, "size": 6},
            customdata=[
                [escape(name), *numbers]
                for name, *numbers in zip(names, y.tolist(), one.low.tolist(), one.high.tolist(), strict=True)
            ],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]:.4g}<br>"
            "95 %: %{customdata[2]:.4g} to %{customdata[3]:.4g}",
        )
