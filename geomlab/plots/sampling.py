"""λmax against the number of samples: whether other data, or more, would give another."""

from math import ceil

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from geomlab.plots import layerwise, select
from geomlab.plots.facets import ACROSS, panelled
from geomlab.plots.scales import Array, Scale, choose, label, log_ticks
from geomlab.plots.style import (
    REMARK,
    Drawn,
    escape,
    finish,
    legend,
    looks,
    short,
    styled,
)

DODGE = 0.02  # of the axis, by which a condition stands right of the one before it, so that bars can be told apart
TITLE = "Largest eigenvalue by the number of samples"
LABEL = r"$\lambda_{\max}$ (nats)"
HTML = "λ<sub>max</sub> (nats)"
COUNT = "number of samples"


def plot(data: xr.Dataset, ax: Axes, scale: Scale | None = None) -> list[Drawn]:
    """Draw λmax over the samples it is of, for one checkpoint, one series a condition; hollow has not converged.

    Args:
        data: measurement `curvature` of one checkpoint.
        ax: to draw into.
        scale: of the y axis; by default what the numbers ask for.

    Returns:
        The artists. Bars are one standard error: over parts of the samples, of all samples the jackknife's.
    """
    shown = looks(select.conditions(data))
    artists: list[Drawn] = []
    for name, one, (x, y, bar) in _series(data):
        look, is_open = shown[name], _open(one)
        artists.append(ax.errorbar(x, y, bar, c=look.color, marker=look.marker, ls=look.dash, lw=0.8))
        artists += ax.plot(x[is_open], y[is_open], look.marker, mfc="white", mec=look.color, zorder=5)
    (scale or choose(_all(data))).apply(ax)
    ax.set_xscale("log")
    ticks = _ticks(data)
    ax.set_xticks(ticks, [label(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=COUNT, ylabel=LABEL)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Facets of `plot`, one a checkpoint, on one scale."""
    scale = choose(_all(data))

    def draw(one: xr.Dataset, ax: Axes) -> None:
        plot(one, ax, scale)
        if any(_open(part).any() for _, part, _ in _series(one)):
            ax.set_title("hollow: not converged", loc="right", fontsize=6, color=REMARK)

    fig = panelled(data, title, draw, label=COUNT, above=1.0)
    legend(fig, looks(select.conditions(data)), columns=3 if len(select.checkpoints(data)) == 1 else 5)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, scale = list(select.per_checkpoint(data)), choose(_all(data))
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    names = [escape(short(name)) for name, _ in parts] if len(parts) > 1 else None
    fig = make_subplots(rows, across, shared_yaxes="all", subplot_titles=names)
    shown = looks(select.conditions(data))
    for place, (_, checkpoint) in enumerate(parts):
        for name, one, (x, y, bar) in _series(checkpoint):
            look = shown[name]
            fig.add_scatter(
                x=x,
                y=scale.forward(y),
                error_y=layerwise.error_bars(y, y - bar, y + bar, scale),
                name=escape(name),
                legendgroup=name,
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": look.color, "dash": look.plotly_dash, "width": 1.5},
                marker={"symbol": [look.symbol + ("-open" if o else "") for o in _open(one)], "size": 8},
                customdata=np.stack([_counts(one), y, bar], axis=1),
                hovertemplate="%{customdata[0]:.4g} samples: %{customdata[1]:.4g} ± %{customdata[2]:.2g}",
                row=place // across + 1,
                col=place % across + 1,
            )
    ticks = _ticks(data)
    fig.update_xaxes(type="log", matches="x", tickvals=ticks, ticktext=[label(tick) for tick in ticks])
    fig.update_xaxes(title_text=COUNT, row=rows)
    fig.update_yaxes(**scale.plotly_axis(_all(data)))
    fig.update_yaxes(title_text=HTML, col=1)
    return finish(fig, title, 90 + 320 * rows)


def _counts(one: xr.Dataset) -> Array:
    """Samples of the parts, at which there is a λmax, ascending."""
    return select.numbers(one, "part_n")[_order(one)]


def _series(checkpoint: xr.Dataset) -> list[tuple[str, xr.Dataset, tuple[Array, Array, Array]]]:
    """Of each condition its samples, moved a little, its λmax and their bars."""
    measured = list(select.per_condition(checkpoint, "part_eigenvalue"))
    ticks = _ticks(checkpoint)
    dodge = max(2.0, ticks[-1] / ticks[0]) ** DODGE if ticks else 1.0
    found = []
    for i, (name, one) in enumerate(measured):
        order, moved = _order(one), dodge ** (i - (len(measured) - 1) / 2)
        y, bar = select.numbers(one, "part_eigenvalue")[order], _errors(one)[order]
        found.append((name, one, (_counts(one) * moved, y, bar)))
    return found


def _order(one: xr.Dataset) -> NDArray[np.intp]:
    """The parts at which there is a λmax, by their samples."""
    n = select.numbers(one, "part_n")
    order = np.argsort(n)
    return order[(np.isfinite(n) & np.isfinite(select.numbers(one, "part_eigenvalue")))[order]]


def _errors(data: xr.Dataset) -> Array:
    return select.errors(data, "part_eigenvalue")


def _open(one: xr.Dataset) -> NDArray[np.bool_]:
    """Where a marker is hollow."""
    return np.equal(select.numbers(one, "part_converged")[_order(one)], 0)


def _all(data: xr.Dataset) -> Array:
    """Values and the ends of their bars, so that one across zero is drawn whole."""
    y, bar = select.numbers(data, "part_eigenvalue"), _errors(data)
    return np.concatenate([y.ravel(), (y - bar).ravel(), (y + bar).ravel()])


def _ticks(data: xr.Dataset) -> list[float]:
    """The numbers of samples themselves where they are few."""
    found = np.unique(np.round(select.numbers(data, "part_n"), 6))
    found = found[np.isfinite(found)]
    if found.size <= 6:
        return [float(n) for n in found]
    return log_ticks(float(found[0]), float(found[-1]))
