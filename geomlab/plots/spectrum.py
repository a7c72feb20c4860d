"""The top of the spectrum, and its smallest eigenvalue."""

from math import ceil

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.facets import ACROSS, facets
from geomlab.plots.scales import Array, Scale, choose
from geomlab.plots.style import (
    Drawn,
    escape,
    finish,
    legend,
    looks,
    note,
    plain,
    short,
    styled,
)

TITLE = "Largest eigenvalues, and the smallest"
VALUE = "eigenvalue (nats)"


def plot(data: xr.Dataset, ax: Axes, scale: Scale | None = None) -> list[Drawn]:
    """Draw the eigenvalues of one checkpoint, one series a condition; a hollow marker has not converged.

    Args:
        data: measurement `curvature` of one checkpoint.
        ax: to draw into.
        scale: of the y axis; by default what the numbers ask for.

    Returns:
        The artists. Bars are |λ| times the relative residual, which bounds the distance to an eigenvalue.
    """
    shown, k = looks(select.conditions(data)), _count(data)
    artists: list[Drawn] = []
    for name, one in select.per_condition(data, "eigenvalue"):
        look, (x, y, bar) = shown[name], _series(one, k)
        artists.append(ax.errorbar(x, y, bar, color=look.color, marker=look.marker, linestyle=look.dash))
        artists += ax.plot(x[_open(one)], y[_open(one)], look.marker, mfc="white", mec=look.color, zorder=5)
    (scale or choose(_all(data))).apply(ax)
    ax.axvline(k + 0.75, color="#999999", linewidth=0.5)
    ticks = range(1, k + 1, ceil(k / 10))
    ax.set_xticks([*ticks, k + 1.5], [*map(str, ticks), "min"])
    ax.set(xlabel="index (descending)", ylabel=_value(data))
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Facets of `plot`, one a checkpoint, on one scale."""
    parts = list(select.per_checkpoint(data))
    fig, axes = facets(parts, title, above=1.0)
    for ax, (name, one) in zip(axes, parts, strict=True):
        plot(one, ax, choose(_all(data)))
        ax.set_title(plain(short(name)) if len(parts) > 1 else "")
        ax.label_outer()
        _say_open(ax, one)
    legend(fig, looks(select.conditions(data)), columns=3 if len(parts) == 1 else 5)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, scale, k = list(select.per_checkpoint(data)), choose(_all(data)), _count(data)
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    names = [escape(short(name)) for name, _ in parts] if len(parts) > 1 else None
    fig = make_subplots(rows, across, shared_yaxes="all", subplot_titles=names)
    shown = looks(select.conditions(data))
    for place, (_, checkpoint) in enumerate(parts):
        for name, one in select.per_condition(checkpoint, "eigenvalue"):
            look, (x, y, bar) = shown[name], _series(one, k)
            is_open = _open(one)
            fig.add_scatter(
                x=x,
                y=scale.forward(y),
                error_y={
                    "array": scale.forward(y + bar) - scale.forward(y),
                    "arrayminus": scale.forward(y) - scale.forward(y - bar),
                },
                name=escape(name),
                legendgroup=name,
                showlegend=place == 0,
                mode="lines+markers",
                line={"color": look.color, "dash": look.plotly_dash},
                marker={"symbol": [look.symbol + ("-open" if o else "") for o in is_open], "size": 8},
                customdata=np.stack([y, bar], axis=1),
                text=[*map(str, range(1, k + 1)), "", "min"],
                hovertemplate="λ<sub>%{text}</sub> = %{customdata[0]:.4g} ± %{customdata[1]:.1g} (residual)",
                row=place // across + 1,
                col=place % across + 1,
            )
    fig.update_xaxes(tickvals=[*range(1, k + 1), k + 1.5], ticktext=[*map(str, range(1, k + 1)), "min"])
    fig.update_xaxes(title_text="index (descending)", row=rows)
    fig.update_yaxes(**scale.plotly_axis(_all(data)))
    fig.update_yaxes(title_text=_value(data), col=1)
    return finish(fig, title, 90 + 320 * rows)


def _value(data: xr.Dataset) -> str:
    """Of what, where it is the same everywhere."""
    kinds = {"hessian": "Hessian", "finite-difference": "Hessian", "gauss-newton": "Gauss–Newton"}
    return f"{kinds.get(select.words(data, 'matrix'), '')} {VALUE}".lstrip()


def _count(data: xr.Dataset) -> int:
    return int(data.sizes["eigen"])


def _all(data: xr.Dataset) -> Array:
    return np.concatenate([select.numbers(data, v).ravel() for v in ("eigenvalue", "smallest_eigenvalue")])


def _series(one: xr.Dataset, k: int) -> tuple[Array, Array, Array]:
    """Index, value and residual bar; behind a gap comes the smallest eigenvalue."""
    y, residual = _with_smallest(one, "eigenvalue"), _with_smallest(one, "residual")
    return np.array([*range(1, k + 1), k + 0.75, k + 1.5]), y, np.nan_to_num(np.abs(y) * residual)


def _open(one: xr.Dataset) -> NDArray[np.bool_]:
    """Where a marker is hollow."""
    return np.equal(_with_smallest(one, "converged"), 0)


def _with_smallest(one: xr.Dataset, name: str) -> Array:
    top, smallest = select.numbers(one, name), select.numbers(one, f"smallest_{name}")
    return np.concatenate([np.broadcast_to(top, _count(one)), [np.nan], np.ravel(smallest)])


def _say_open(ax: Axes, checkpoint: xr.Dataset) -> None:
    if any(_open(one).any() for _, one in select.per_condition(checkpoint, "eigenvalue")):
        note(ax, "hollow: not converged")
