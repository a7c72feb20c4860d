"""The loss on a plane through the network's parameters."""

from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.axes import directions, interpolated, moved, step_html, step_label, waypoints
from geomlab.plots.scales import Array, label, levels
from geomlab.plots.style import PAGE, REMARK, escape, finish, lines, new_figure, plain, short, styled

ACROSS = 3
TITLE = "Loss on a plane through the parameters"
VALUE = "cross-entropy (nats)"
COLOURS = "viridis"


def plot(data: xr.Dataset, ax: Axes, marks: tuple[Array, bool] | None = None) -> QuadContourSet | None:
    """Draw filled, labelled contours of the loss of one checkpoint under one condition.

    Args:
        data: measurement `landscape` of one checkpoint and one condition.
        ax: to draw into.
        marks: contour levels and whether they are logarithmic; by default what the numbers ask for.

    Returns:
        The filled contours, for a colour bar; None where next to nothing is finite. What is not finite stays
        grey and is counted.
    """
    x, y, z = _surface(data)
    ax.set(xlabel=step_label(data, 0), ylabel=step_label(data, 1), box_aspect=1)  # steps differ in length
    ax.grid(visible=False)
    ax.set_facecolor("#d9d9d9")
    holes = int((~np.isfinite(z)).sum())
    if holes:
        ax.set_title(f"{holes} of {z.size} points not finite", loc="right", fontsize=6, color=REMARK)
    if holes > z.size - 4:
        return None
    steps, logarithmic = marks or levels(z)
    norm = (LogNorm if logarithmic else Normalize)(steps[0], steps[-1])
    masked = np.ma.masked_invalid(z)
    filled = ax.contourf(x, y, masked, levels=steps, norm=norm, cmap=COLOURS)
    lines = ax.contour(x, y, masked, levels=steps, colors="white", linewidths=0.4, alpha=0.8)
    ax.clabel(lines, fmt=label, fontsize=5.5, inline_spacing=2)
    ax.plot(0, 0, marker="+", color="white", markersize=6, markeredgewidth=1.2)
    if "plane_measured" in data:
        at, beside, _ = _points(data)
        ax.scatter(at, beside, s=1.2, color="white", alpha=0.6, linewidths=0)
    _waypoints(data, ax)
    return filled


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot` with the same levels: conditions of one checkpoint, or a row a checkpoint."""
    names = _measured(data)
    checkpoints = list(select.per_checkpoint(data))
    several = len(checkpoints) > 1
    across = len(names) if several else min(len(names), ACROSS)
    rows = len(checkpoints) if several else ceil(len(names) / across)
    marks = levels(select.numbers(data, "plane_loss"))
    side = (PAGE - 1.2) / max(across, 2)
    fig = new_figure(PAGE, 1.05 + rows * (side + 0.22), _title(title, data))
    axes = fig.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
    filled = None
    cells = [(checkpoint, one, condition) for checkpoint, one in checkpoints for condition in names]
    for place, (ax, (checkpoint, one, condition)) in enumerate(zip(axes.ravel(), cells, strict=False)):
        filled = plot(one.sel(condition=condition), ax, marks) or filled
        ax.set_title(plain(short(condition, 16 if several else 26)) if place < across or not several else "")
        ax.set(xlabel="", ylabel=plain(short(checkpoint, 24)) if several and place % across == 0 else "")
    for ax in axes.ravel()[len(cells) :]:
        ax.set_visible(False)
    fig.supxlabel(step_label(data, 0), fontsize=8)
    fig.supylabel(step_label(data, 1), fontsize=8)
    if filled is not None:
        _colour_bar(fig, filled, axes, marks[0])
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """Surfaces, a scene a checkpoint on one scale, with a menu that chooses the condition."""
    parts = list(select.per_checkpoint(data))
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    titles = [escape(short(name)) for name, _ in parts] if len(parts) > 1 else None
    fig = make_subplots(rows, across, specs=[[{"type": "surface"}] * across] * rows, subplot_titles=titles)
    steps, logarithmic = levels(select.numbers(data, "plane_loss"))
    measured = _measured(data)
    belongs: list[str] = []
    for place, (_, checkpoint) in enumerate(parts):
        for name, one in select.per_condition(checkpoint, "plane_loss"):
            trace = _trace(one, steps, logarithmic, visible=name == measured[0])
            shown = {"visible": name == measured[0]}
            for drawn in (trace, *_dots(one, **shown), *_path(one, **shown)):
                fig.add_trace(drawn, row=place // across + 1, col=place % across + 1)
                belongs.append(name)
    fig.update_scenes(
        xaxis_title="α, along d<sub>0</sub>",
        yaxis_title="β, along d<sub>1</sub>",
        zaxis=_z_axis(steps, logarithmic),
        camera=_camera(1.0 if across == 1 else 1.5),
        aspectratio={"x": 1, "y": 1, "z": 0.75},
    )
    buttons = [
        {
            "label": escape(name),
            "method": "update",
            "args": [{"visible": [name == other for other in belongs]}],
        }
        for name in measured
    ]
    fig.update_layout(
        updatemenus=[
            {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "pad": {"b": 8}}
        ]
    )
    under = {
        "align": "left",
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0,
        "yanchor": "top",
        "showarrow": False,
    }
    fig.add_annotation(text=f"α: {step_html(data, 0)}<br>β: {step_html(data, 1)}", **under)
    return finish(fig, _title(title, data), 110 + 440 * rows)


def _title(title: str, data: xr.Dataset) -> str:
    return lines(title, directions(data, [0, 1]), interpolated(data), moved(data), waypoints(data))


def _waypoints(data: xr.Dataset, ax: Axes) -> None:
    """The networks of a trajectory in order, numbered from 1; what is beyond the axes is cut off."""
    if "waypoint_step" not in data:
        return
    x, y = (select.numbers(data.sel(axis=axis), "waypoint_step") for axis in (0, 1))
    seen: dict[str, Any] = {"path_effects": [withStroke(linewidth=2, foreground="black")], "clip_on": True}
    ax.plot(x, y, color="white", linewidth=0.8, marker="o", markersize=3, **seen)
    for number, at in enumerate(zip(x, y, strict=True), start=1):
        ax.annotate(
            str(number),
            at,
            (4, 3),
            textcoords="offset points",
            fontsize=7,
            color="white",
            annotation_clip=True,
            **seen,
        )


def _measured(data: xr.Dataset) -> list[str]:
    """The conditions for which some checkpoint has a plane."""
    found = [
        name for _, one in select.per_checkpoint(data) for name, _ in select.per_condition(one, "plane_loss")
    ]
    return [name for name in select.conditions(data) if name in found]


def _colour_bar(fig: Figure, filled: QuadContourSet, axes: Any, steps: Array) -> None:
    ticks = steps[:: ceil(len(steps) / 12)]
    bar = fig.colorbar(filled, ax=axes, label=VALUE, aspect=30, pad=0.01, ticks=ticks)
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: label(value))
    bar.outline.set_visible(False)


def _surface(one: xr.Dataset) -> tuple[Array, Array, Array]:
    """Steps along d0 (x) and d1 (y), and the loss as (y, x), on the grid of this cell."""
    loss = one["plane_loss"].transpose("beta", "alpha")
    z = select.numbers(loss.to_dataset(), "plane_loss")
    return select.numbers(one, "alpha"), select.numbers(one, "beta"), z


def _points(one: xr.Dataset) -> tuple[Array, Array, Array]:
    """Where the loss was measured and not interpolated: steps along d0 and d1, and the loss."""
    mask = one["plane_measured"].transpose("beta", "alpha").to_dataset()
    x, y, z = _surface(one)
    rows, columns = np.nonzero(select.numbers(mask, "plane_measured") == 1)
    return x[columns], y[rows], z[rows, columns]


def _trace(one: xr.Dataset, steps: Array, logarithmic: bool, *, visible: bool) -> go.Surface:
    x, y, z = _surface(one)
    accuracy = select.numbers(one["plane_accuracy"].transpose("beta", "alpha").to_dataset(), "plane_accuracy")
    ticks = steps[:: ceil(len(steps) / 9)]
    scaled = np.log10 if logarithmic else np.asarray
    bar: dict[str, Any] = {
        "title": {"text": "loss (nats)"},
        "tickvals": scaled(ticks),
        "ticktext": [*map(label, ticks)],
    }
    return go.Surface(
        x=x,
        y=y,
        z=z,
        surfacecolor=scaled(z),
        customdata=accuracy,
        cmin=float(scaled(steps[0])),
        cmax=float(scaled(steps[-1])),
        colorscale="Viridis",
        colorbar={**bar, "len": 0.7, "thickness": 14},
        contours={"z": {"show": not logarithmic, "color": "rgba(255,255,255,0.4)", "width": 1}},
        visible=visible,
        hovertemplate="α = %{x:.2f}, β = %{y:.2f}<br>loss %{z:.4g}<br>accuracy %{customdata:.3f}",
        name="",
    )


def _dots(one: xr.Dataset, *, visible: bool) -> list[go.Scatter3d]:
    """The points that were measured, where the rest is interpolated."""
    if "plane_measured" not in one:
        return []
    x, y, z = _points(one)
    return [
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            marker={"color": "white", "size": 1.2},
            showlegend=False,
            visible=visible,
            hoverinfo="skip",
        )
    ]


def _path(one: xr.Dataset, *, visible: bool) -> list[go.Scatter3d]:
    """The networks of a trajectory on the surface, at the points nearest to them; none beyond its ends."""
    if "waypoint_step" not in one:
        return []
    at = one["waypoint_step"]
    height = one["plane_loss"].interp(alpha=at.sel(axis=0), beta=at.sel(axis=1))
    numbers = [str(number) for number in range(1, at.sizes["waypoint"] + 1)]
    return [
        go.Scatter3d(
            x=at.sel(axis=0),
            y=at.sel(axis=1),
            z=height,
            mode="lines+markers+text",
            text=numbers,
            customdata=[escape(str(name)) for name in at["waypoint"].values],
            line={"color": "black", "width": 4},
            marker={"color": "white", "size": 4, "line": {"color": "black", "width": 1}},
            showlegend=False,
            visible=visible,
            hovertemplate="%{text} %{customdata}<br>loss of the plane %{z:.4g}",
            name="",
        )
    ]


def _camera(distance: float) -> dict[str, Any]:
    """Looking down from the side of small α; from farther where scenes are narrow."""
    eye = {"x": 1.25 * distance, "y": -1.35 * distance, "z": 0.85 * distance}
    return {"eye": eye, "center": {"x": 0, "y": 0, "z": -0.12}}


def _z_axis(steps: Array, logarithmic: bool) -> dict[str, Any]:
    ends = (np.log10 if logarithmic else np.asarray)(steps[[0, -1]])
    ticks = steps[:: ceil(len(steps) / 6)]
    axis = {"title": "loss (nats)", "range": ends.tolist(), "type": "log" if logarithmic else "linear"}
    return {**axis, "tickvals": ticks.tolist(), "ticktext": [label(tick) for tick in ticks]}
