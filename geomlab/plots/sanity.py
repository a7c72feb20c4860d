"""Accuracy under an attack by its radius, and at its radius beside what must be weaker and what must not."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.layerwise import error_bars
from geomlab.plots.scales import Array, Scale, label
from geomlab.plots.style import (
    PAGE,
    Drawn,
    Look,
    escape,
    finish,
    legend,
    looks,
    new_figure,
    plain,
    short,
    styled,
)

TITLE = "Sanity of the attacks"
ATTACK = "the attack"
CONTROLS = ("uniform noise", "corner noise", "fewer steps", ATTACK, "more steps", "square")
XLABEL = "radius, in units of the attack's own"
Series = tuple[str, Look, Array, Array, Array, Array]  # condition, look, places, values, ends of intervals


def plot(data: xr.Dataset, ax: Axes, what: str = "radius") -> list[Drawn]:
    """Draw accuracy with 95 % Wilson intervals, one series a condition.

    Args:
        data: measurement `sanity` of one checkpoint.
        ax: to draw into.
        what: `radius`, by multiples of each attack's radius; or `controls`, at that radius.
    """
    found = list(_radii(data) if what == "radius" else _controls(data))
    artists: list[Drawn] = []
    for _, look, x, y, low, high in found:
        style = look.dash if what == "radius" else "none"
        ends = [y - low, high - y]
        artists.append(
            ax.errorbar(x, y, ends, color=look.color, marker=look.marker, ls=style, ms=3.5, capsize=2, lw=1)
        )
    ticks = multiples(data) if what == "radius" else list(CONTROLS)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.5, len(ticks) - 0.5)
    ax.set_ylim(-0.04, 1.04)
    if what == "controls":
        ax.axvspan(
            CONTROLS.index(ATTACK) - 0.5, CONTROLS.index(ATTACK) + 0.5, color="#f2f2f2", lw=0, zorder=0
        )
        ax.grid(axis="x", visible=False)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Both panels of `plot`, a row a checkpoint."""
    parts, shown = list(select.per_checkpoint(data)), select.measured(data, "accuracy")
    fig = new_figure(PAGE, 1.5 + 1.5 * len(parts), title)
    axes = fig.subplots(len(parts), 2, sharey=True, sharex="col", squeeze=False)
    for row, (name, one) in zip(axes, parts, strict=True):
        for ax, what in zip(row, ("radius", "controls"), strict=True):
            plot(one, ax, what)
        row[0].set_ylabel("accuracy")
        row[0].set_title(plain(short(name)) if len(parts) > 1 else "")
    axes[-1][0].set_xlabel(XLABEL)
    axes[-1][1].set_xlabel("at the attack's radius")
    for text in axes[-1][1].get_xticklabels():
        text.set(rotation=25, ha="right", rotation_mode="anchor")
    legend(fig, {name: look for name, look in looks(select.conditions(data)).items() if name in shown})
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts = list(select.per_checkpoint(data))
    prefix = [f"{escape(short(name))}: " if len(parts) > 1 else "" for name, _ in parts]
    titles = [start + what for start in prefix for what in ("by radius", "at the attack's radius")]
    height = 110 + 300 * len(parts)
    fig = make_subplots(len(parts), 2, subplot_titles=titles, shared_yaxes=True, vertical_spacing=90 / height)
    for row, (_, one) in enumerate(parts, start=1):
        for col, found in enumerate((_radii(one), _controls(one)), start=1):
            for name, look, x, y, low, high in found:
                fig.add_scatter(
                    x=x,
                    y=y,
                    error_y=error_bars(y, low, high, Scale("linear")),
                    mode="lines+markers" if col == 1 else "markers",
                    line={"color": look.color, "dash": look.plotly_dash},
                    marker={"color": look.color, "symbol": look.symbol, "size": 7},
                    name=escape(name),
                    legendgroup=name,
                    showlegend=row == col == 1,
                    customdata=np.stack([low, high], axis=1),
                    hovertemplate="%{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
                    row=row,
                    col=col,
                )
        for col, ticks in enumerate((multiples(one), list(CONTROLS)), start=1):
            fig.update_xaxes(tickvals=list(range(len(ticks))), ticktext=ticks, row=row, col=col)
    fig.update_yaxes(range=[-0.04, 1.04])
    fig.update_yaxes(title_text="accuracy", col=1)
    fig.update_xaxes(title_text=XLABEL, col=1)
    return finish(fig, title, height)


def multiples(data: xr.Dataset) -> list[str]:
    """Names of the radii: clean, multiples, and any image at all."""
    return [
        "clean" if value == 0 else "any image" if np.isinf(value) else f"{label(value)}×"
        for value in data["multiple"].values.tolist()
    ]


def _radii(data: xr.Dataset) -> Iterator[Series]:
    yield from _series(data, "accuracy", np.arange(data.sizes["multiple"], dtype=np.float64))


def _controls(data: xr.Dataset) -> Iterator[Series]:
    """At the radius, the attack itself between its controls."""
    own = data.sel(multiple=1.0)
    wide = data.reindex(control=list(CONTROLS))
    names = {f"control_accuracy{end}": f"accuracy{end}" for end in ("", "_low", "_high")}
    filled = {
        mine: wide[mine].where(wide["control"] != ATTACK, own[theirs]) for mine, theirs in names.items()
    }
    yield from _series(wide.assign(filled), "control_accuracy", np.arange(len(CONTROLS), dtype=np.float64))


def _series(data: xr.Dataset, variable: str, places: Array) -> Iterator[Series]:
    """Series beside each other, at the places where there are numbers."""
    found = list(select.per_condition(data, variable))
    for i, (name, one) in enumerate(found):
        y, low, high = (select.numbers(one, f"{variable}{end}") for end in ("", "_low", "_high"))
        x = places + 0.12 * (i - (len(found) - 1) / 2)
        there = np.isfinite(y)
        yield name, looks(select.conditions(data))[name], x[there], y[there], low[there], high[there]
