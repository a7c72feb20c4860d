"""Loss and accuracy along a line through the network's parameters."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.axes import directions, moved, step_html, step_label
from geomlab.plots.scales import Array, Scale, choose
from geomlab.plots.style import (
    PAGE,
    Drawn,
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
from geomlab.stats import Z95, wilson

TITLE = "Loss and accuracy along a line through the parameters"
LABELS = {"line_loss": "cross-entropy (nats)", "line_accuracy": "accuracy"}


def plot(data: xr.Dataset, ax: Axes, variable: str = "line_loss", scale: Scale | None = None) -> list[Drawn]:
    """Draw loss or accuracy of one checkpoint along direction 0, one line a condition, with 95 % bands.

    Args:
        data: measurement `landscape` of one checkpoint.
        ax: to draw into.
        variable: `line_loss` or `line_accuracy`.
        scale: of the y axis; by default what the numbers ask for.
    """
    artists: list[Drawn] = []
    for name, one in select.per_condition(data, variable):
        look, (x, y, low, high) = looks(select.conditions(data))[name], _curve(one, variable)
        artists.append(ax.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0))
        artists += ax.plot(
            x,
            y,
            color=look.color,
            linestyle=look.dash,
            marker=look.marker,
            markevery=max(1, len(x) // 8),
            ms=3,
        )
    (scale or _scale(data, variable)).apply(ax)
    ax.axvline(0, color="#888888", linewidth=0.6, zorder=1)
    ax.set(xlabel=step_label(data, 0), ylabel=LABELS[variable])
    if variable == "line_accuracy":
        ax.set_ylim(-0.02, 1.02)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot`: loss and accuracy, a row a checkpoint, on one scale."""
    parts = list(select.per_checkpoint(data))
    fig = new_figure(PAGE, 1.15 + 1.6 * len(parts), lines(title, directions(data, [0]), moved(data)))
    axes = fig.subplots(len(parts), 2, sharey="col", sharex=True, squeeze=False)
    for row, (name, one) in zip(axes, parts, strict=True):
        for ax, variable in zip(row, LABELS, strict=True):
            plot(one, ax, variable, _scale(data, variable))
            if ax not in axes[-1]:
                ax.set_xlabel("")
        row[0].set_title(plain(short(name)) if len(parts) > 1 else "")
    legend(fig, looks(select.conditions(data)))
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, shown = list(select.per_checkpoint(data)), looks(select.conditions(data))
    prefix = [f"{escape(short(name))}: " if len(parts) > 1 else "" for name, _ in parts]
    titles = [start + what for start in prefix for what in ("loss", "accuracy")]
    height = 90 + 320 * len(parts)
    gap = 50 / height  # room for a title
    fig = make_subplots(len(parts), 2, subplot_titles=titles, shared_xaxes="all", vertical_spacing=gap)
    for row, (_, checkpoint) in enumerate(parts, start=1):
        for col, variable in enumerate(LABELS, start=1):
            for name, one in select.per_condition(checkpoint, variable):
                look, (x, y, low, high) = shown[name], _curve(one, variable)
                common = {"legendgroup": name, "name": escape(name), "x": x}
                band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
                fig.add_trace(go.Scatter(y=low, **common, **band), row, col)
                fig.add_trace(
                    go.Scatter(y=high, fill="tonexty", fillcolor=look.faint(), **common, **band), row, col
                )
                fig.add_trace(
                    go.Scatter(
                        y=y,
                        **common,
                        mode="lines",
                        line={"color": look.color, "dash": look.plotly_dash},
                        customdata=np.stack([low, high], axis=1),
                        hovertemplate="step %{x:.2f}: %{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}]",
                        showlegend=row == col == 1,
                    ),
                    row,
                    col,
                )
            scale = _scale(data, variable)
            fig.update_yaxes(title_text=LABELS[variable], **_range(data, variable, scale), row=row, col=col)
    fig.update_xaxes(title_text=step_html(data, 0), row=len(parts))
    return finish(fig, lines(title, directions(data, [0]), moved(data)), height)


def _curve(one: xr.Dataset, variable: str) -> tuple[Array, Array, Array, Array]:
    """Steps, values, and the ends of their 95 % intervals, at the steps where there is a value."""
    there = np.isfinite(select.numbers(one, variable))
    part = one.isel(step=there)
    x, y = select.numbers(part, "step"), select.numbers(part, variable)
    if variable == "line_loss":
        half = Z95 * select.errors(part, variable)
        return x, y, y - half, y + half
    n = int(part["n"].item())
    ends = np.array([wilson(round(value * n), n) for value in y.tolist()]).reshape(-1, 2)
    return x, y, ends[:, 0], ends[:, 1]


def _scale(data: xr.Dataset, variable: str) -> Scale:
    return Scale("linear") if variable == "line_accuracy" else choose(select.numbers(data, variable))


def _range(data: xr.Dataset, variable: str, scale: Scale) -> dict[str, object]:
    """One range for all checkpoints."""
    if variable == "line_accuracy":
        return {"range": [-0.02, 1.02]}
    return scale.plotly_range(select.numbers(data, variable))
