"""Accuracy and loss under each condition."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.scales import choose
from geomlab.plots.style import (
    MARKERS,
    PAGE,
    PLOTLY_MARKERS,
    Drawn,
    escape,
    finish,
    looks,
    new_figure,
    plain,
    short,
    styled,
)
from geomlab.stats import positive_interval

TITLE = "Accuracy and loss under each condition"
LABELS = {"accuracy": "accuracy", "mean_loss": "mean cross-entropy (nats)"}


def plot(data: xr.Dataset, ax: Axes, variable: str = "accuracy") -> list[Drawn]:
    """Draw accuracy or mean loss with 95 % intervals: conditions along x, checkpoints side by side.

    Args:
        data: measurement `accuracy` of one or several checkpoints.
        ax: to draw into.
        variable: `accuracy` (Wilson intervals) or `mean_loss` (symmetric in the logarithm).
    """
    names, shown = select.conditions(data), looks(select.conditions(data))
    parts = list(select.per_checkpoint(data))
    artists: list[Drawn] = []
    for i, (_, one) in enumerate(parts):
        for x, name in enumerate(names):
            y, low, high = _interval(one.sel(condition=name), variable)
            if np.isfinite(y):
                artists.append(
                    ax.errorbar(
                        x + _shift(i, len(parts)),
                        y,
                        [[y - low], [high - y]],
                        color=shown[name].color,
                        marker=MARKERS[i % len(MARKERS)],
                        markersize=4.5,
                        capsize=2,
                    )
                )
    ax.set_xticks(range(len(names)), [plain(short(name, 26)) for name in names])
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylabel(LABELS[variable])
    ax.grid(axis="x", visible=False)
    if variable == "accuracy":
        ax.set_ylim(-0.04, 1.04)
    else:
        choose(select.numbers(data, variable)).apply(ax)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Accuracy and loss beside each other; a marker a checkpoint."""
    parts = select.checkpoints(data)
    fig = new_figure(PAGE, 2.6, title)
    for ax, variable in zip(fig.subplots(1, 2), LABELS, strict=True):
        plot(data, ax, variable)
        if len(select.conditions(data)) > 4:
            for text in ax.get_xticklabels():
                text.set(rotation=25, ha="right", rotation_mode="anchor")
    if len(parts) > 1:
        handles = [
            Line2D(
                [],
                [],
                color="#444444",
                linestyle="none",
                marker=MARKERS[i % len(MARKERS)],
                label=plain(short(name)),
            )
            for i, name in enumerate(parts)
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=min(4, len(parts)))
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    names, shown = select.conditions(data), looks(select.conditions(data))
    parts = list(select.per_checkpoint(data))
    fig = make_subplots(1, 2, subplot_titles=list(LABELS.values()))
    for i, (checkpoint, one) in enumerate(parts):
        for col, variable in enumerate(LABELS, start=1):
            for x, name in enumerate(names):
                y, low, high = _interval(one.sel(condition=name), variable)
                fig.add_scatter(
                    x=[x + _shift(i, len(parts))],
                    y=[y],
                    error_y={"symmetric": False, "array": [high - y], "arrayminus": [y - low], "width": 4},
                    mode="markers",
                    name=escape(short(checkpoint)),
                    legendgroup=checkpoint,
                    showlegend=len(parts) > 1 and x == 0 and col == 1,
                    marker={
                        "symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)],
                        "size": 10,
                        "color": shown[name].color,
                    },
                    customdata=[[escape(name), low, high]],
                    hovertemplate="%{customdata[0]}: %{y:.4g} [%{customdata[1]:.4g}, %{customdata[2]:.4g}]",
                    row=1,
                    col=col,
                )
    fig.update_xaxes(tickvals=list(range(len(names))), ticktext=[_broken(name) for name in names])
    fig.update_yaxes(range=[-0.04, 1.04], col=1)
    return finish(fig, title, 400)


def _broken(name: str) -> str:
    """A name on two lines."""
    return escape(short(name, 28)).replace(":", ":<br>", 1)


def _shift(i: int, count: int) -> float:
    return 0.6 * ((i + 0.5) / count - 0.5)


def _interval(one: xr.Dataset, variable: str) -> tuple[float, float, float]:
    """Value and the ends of its 95 % interval."""
    y = float(select.numbers(one, variable))
    if variable == "accuracy":
        return y, float(select.numbers(one, "accuracy_low")), float(select.numbers(one, "accuracy_high"))
    return y, *positive_interval(y, float(select.errors(one, variable)))
