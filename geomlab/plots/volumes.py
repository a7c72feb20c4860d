"""Gram volumes of the samples: how far a sample's features are spread by the attack or shift and by the weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.facets import ACROSS, panelled
from geomlab.plots.scales import Array, Scale, choose
from geomlab.plots.style import (
    Drawn,
    Look,
    escape,
    finish,
    kind,
    legend,
    looks,
    short,
    styled,
)
from geomlab.stats import mean_stderr, t_half_width

TITLE = "Gram volume of each sample"
VARIABLE = "sample_gram_volume"
LABEL, SHARE = "Gram volume", "share of samples below"
STEPS = 200  # points of a curve in a browser: more are not seen


@dataclass(frozen=True)
class Curve:
    """The volumes of a condition's samples, ascending, their mean, and half of its 95 % interval."""

    condition: str
    look: Look
    x: Array
    mean: float
    half: float

    @property
    def share(self) -> Array:
        """The share of samples up to each."""
        return np.arange(1, len(self.x) + 1) / len(self.x)

    @property
    def height(self) -> float:
        """The share of samples below the mean, where it is marked."""
        return float((self.x <= self.mean).mean())


def plot(data: xr.Dataset, ax: Axes, scale: Scale | None = None) -> list[Drawn]:
    """Draw the distribution function of one checkpoint's volumes, one a condition, with the mean and its interval.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        scale: of the x axis; by default what the numbers ask for.
    """
    artists: list[Drawn] = []
    for one in _curves(data):
        look = one.look
        artists += ax.step(one.x, one.share, where="post", color=look.color, linestyle=look.dash, lw=0.9)
        bar = ax.errorbar(one.mean, one.height, xerr=one.half, color=look.color, marker=look.marker, ms=4.5)
        artists.append(bar)
    (scale or choose(select.numbers(data, VARIABLE))).apply(ax, "x")
    ax.set(xlabel=LABEL, ylabel=SHARE, ylim=(-0.02, 1.02))
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Facets of `plot`, one a checkpoint, on one scale."""
    fig = panelled(data, title, partial(plot, scale=_scale(data)), label=LABEL, above=1.1)
    legend(fig, _shown(data), columns=2 if len(select.checkpoints(data)) == 1 else 5)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser; of many samples every so-many-th is a point of the curve."""
    parts, scale = list(select.per_checkpoint(data)), _scale(data)
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    names = [escape(short(name, 26)) for name, _ in parts] if len(parts) > 1 else None
    fig = make_subplots(rows, across, shared_yaxes="all", subplot_titles=names, vertical_spacing=0.25 / rows)
    for place, (_, checkpoint) in enumerate(parts):
        where = {"row": place // across + 1, "col": place % across + 1}
        for one in _curves(checkpoint):
            for trace in _traces(one, scale, first=place == 0):
                fig.add_trace(trace, **where)
    fig.update_xaxes(title_text=LABEL, matches="x", **_axis(data, scale))
    fig.update_yaxes(range=[-0.02, 1.02])
    fig.update_yaxes(title_text=SHARE, col=1)
    return finish(fig, title, 90 + 320 * rows)


def _traces(one: Curve, scale: Scale, *, first: bool) -> Iterator[go.Scatter]:
    look, name = one.look, escape(one.condition)
    kept = np.unique(np.linspace(0, len(one.x) - 1, min(len(one.x), STEPS)).round().astype(np.intp))
    x, share = one.x[kept], one.share[kept]
    yield go.Scatter(
        x=scale.forward(x).astype(np.float32),
        y=share.astype(np.float32),
        name=name,
        legendgroup=one.condition,
        showlegend=False,
        mode="lines",
        line={"color": look.color, "width": 1.5, "shape": "hv"},  # in steps, dashes look like noise
        customdata=x.astype(np.float32),
        hovertemplate="%{y:.1%} of samples up to %{customdata:.3g}",
    )
    ends = scale.forward([one.mean - one.half, one.mean, one.mean + one.half])
    yield go.Scatter(
        x=ends[1:2],
        y=[one.height],
        error_x={
            "symmetric": False,
            "array": [ends[2] - ends[1]],
            "arrayminus": [ends[1] - ends[0]],
            "width": 0,
        },
        name=name,
        legendgroup=one.condition,
        showlegend=first,
        mode="markers",
        marker={"color": look.color, "symbol": look.symbol, "size": 9},
        hovertemplate=f"mean {one.mean:.3g} ± {one.half:.2g} (95 %)",
    )


def _shown(data: xr.Dataset) -> dict[str, Look]:
    """All conditions with volumes but clean, where they are 0 by construction."""
    there, found = select.measured(data, VARIABLE), looks(select.conditions(data))
    moved = [name for name in there if kind(name) != "clean"]
    return {name: found[name] for name in moved or there}


def _curves(data: xr.Dataset) -> Iterator[Curve]:
    shown = _shown(data)
    for name, one in select.per_condition(select.only(data, VARIABLE), VARIABLE):
        if name in shown:
            x = select.numbers(one, VARIABLE)
            x = np.sort(x[np.isfinite(x)])
            yield Curve(name, shown[name], x, mean_stderr(x)[0], float(np.nan_to_num(t_half_width(x))))


def _scale(data: xr.Dataset) -> Scale:
    return choose(select.numbers(data, VARIABLE))


def _axis(data: xr.Dataset, scale: Scale) -> dict[str, object]:
    values = select.numbers(data, VARIABLE)
    return scale.plotly_axis(values) if scale.kind == "symlog" else scale.plotly_range(values)
