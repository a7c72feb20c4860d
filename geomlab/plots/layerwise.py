"""Points over the layers of a network: one series a condition, with error bars, in both libraries."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes

from geomlab.plots import select
from geomlab.plots.names import shorten
from geomlab.plots.scales import Scale
from geomlab.plots.style import Drawn, Look, escape, plain, short

Bars = Callable[[xr.Dataset, str], select.Array]

MOST = 40  # layer names that fit below a page-wide figure


def draw(
    data: xr.Dataset,
    ax: Axes,
    variable: str,
    shown: dict[str, Look],
    *,
    dodge: float,
    bars: Bars,
) -> list[Drawn]:
    """Draw a variable over the layers of one checkpoint.

    Args:
        data: of one checkpoint.
        ax: to draw into.
        variable: of dimension layer, with a `_stderr` beside it.
        shown: condition -> look.
        dodge: how far the conditions are moved apart along x, so that their bars can be told apart.
        bars: half lengths of the error bars of a condition.
    """
    names = select.layers(data, variable) if variable in data else []
    series = [(c, one) for c, one in select.per_condition(data, variable) if c in shown] if names else []
    artists: list[Drawn] = []
    for i, (condition, one) in enumerate(series):
        look, part = shown[condition], one.sel(layer=names)
        x = np.arange(len(names)) + dodge * (i - (len(series) - 1) / 2)
        y, bar = select.numbers(part, variable), bars(part, variable)
        artists.append(ax.errorbar(x, y, bar, c=look.color, marker=look.marker, ls="none", lw=0.8, ms=3))
    return artists


def name_layers(ax: Axes, names: Sequence[str], *, most: int = MOST) -> None:
    """Put the layers' short names on the x axis, as many as fit."""
    labels, _ = shorten(names)
    ticks = _ticks(names, most)
    ax.set_xticks(ticks, [plain(short(labels[i], 20)) for i in ticks], rotation=90)
    ax.set_xlim(-0.6, max(len(names) - 0.4, 0.4))
    ax.grid(axis="x", visible=False)


def stripe(ax: Axes, count: int, along: Literal["x", "y"] = "x") -> None:
    """Shade every other place of an axis, so that the eye keeps a layer's or a class's points together."""
    span = ax.axvspan if along == "x" else ax.axhspan
    for i in range(0, count, 2):
        span(i - 0.5, i + 0.5, color="#f2f2f2", linewidth=0, zorder=0)


def axis_label(names: Sequence[str], *, most: int = MOST) -> str:
    """What the x axis of layers shows, and what its names have lost."""
    _, path = shorten(names)
    named = len(_ticks(names, most))
    extra = [
        f"numbered names within {path}" if path else "",
        f"{named} of {len(names)} are named" if named < len(names) else "",
    ]
    return plain("; ".join(["layer, from input to output", *filter(None, extra)]))


def _ticks(names: Sequence[str], most: int) -> list[int]:
    return list(range(0, len(names), max(1, ceil(len(names) / most))))


def traces(
    data: xr.Dataset,
    variable: str,
    shown: dict[str, Look],
    scale: Scale,
    *,
    first: bool,
    dodge: float,
    bars: Bars,
) -> list[go.Scatter]:
    """The same for plotly, with full layer names and values in the hover text.

    Args:
        data: of one checkpoint.
        variable: of dimension layer, with a `_stderr` beside it.
        shown: condition -> look.
        scale: of the y axis.
        first: whether these traces are those in the legend.
        dodge: how far the conditions are moved apart along x.
        bars: half lengths of the error bars of a condition.
    """
    names = select.layers(data, variable) if variable in data else []
    series = [(c, one) for c, one in select.per_condition(data, variable) if c in shown] if names else []
    found = []
    for i, (condition, one) in enumerate(series):
        look, part = shown[condition], one.sel(layer=names)
        y, bar = select.numbers(part, variable), bars(part, variable)
        found.append(
            go.Scatter(
                x=np.arange(len(names)) + dodge * (i - (len(series) - 1) / 2),
                y=scale.forward(y),
                error_y=error_bars(y, y - bar, y + bar, scale),
                name=escape(condition),
                legendgroup=condition,
                showlegend=first,
                mode="markers",
                marker={"color": look.color, "symbol": look.symbol, "size": 7},
                customdata=[
                    [escape(n), v, e] for n, v, e in zip(names, y.tolist(), bar.tolist(), strict=True)
                ],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]:.4g} ± %{customdata[2]:.2g}",
            )
        )
    return found


def error_bars(y: Any, low: Any, high: Any, scale: Scale) -> dict[str, Any]:
    """Error bars of plotly between two ends on a scale; one that is not symmetric there has two lengths."""
    up, down = scale.forward(high) - scale.forward(y), scale.forward(y) - scale.forward(low)
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.2, "width": 0}


def plotly_axis(names: Sequence[str]) -> dict[str, Any]:
    """Settings of a plotly x axis of layers."""
    labels, _ = shorten(names)
    ticks = _ticks(names, MOST)
    return {"tickvals": ticks, "ticktext": [escape(short(labels[i], 20)) for i in ticks], "tickangle": -90}
