"""The loss on a plane through the network's parameters, seen from the side: static, and beside its contours."""

from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.axes import heading, step_html
from geomlab.plots.plane import ACROSS, COLOURS, VALUE, measured, on_grid, points
from geomlab.plots.scales import Array, label, levels
from geomlab.plots.style import PAGE, escape, finish, new_figure, plain, short, styled

TITLE = "Surface of the loss over a plane through the parameters"
LINES = 10  # contours of the browser's version
FINE = 1000  # points, of which lines between them would hide the colours
ELEVATION, AZIMUTH = 28, -52  # degrees: from the side of small α


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Surfaces on one scale: conditions of one checkpoint, or a row a checkpoint."""
    names, checkpoints = measured(data), list(select.per_checkpoint(data))
    several = len(checkpoints) > 1
    across = len(names) if several else min(len(names), ACROSS)
    rows = len(checkpoints) if several else ceil(len(names) / across)
    marks = levels(select.numbers(data, "plane_loss"))
    side = PAGE / max(across, 2)
    fig = new_figure(PAGE, 1.0 + rows * side * 0.88, heading(title, data))
    for place, (checkpoint, one, name) in enumerate((c, o, n) for c, o in checkpoints for n in names):
        ax = fig.add_subplot(rows, across, place + 1, projection="3d")
        assert isinstance(ax, Axes3D)
        plot(one.sel(condition=name), ax, marks)
        ax.set_title(
            plain(f"{short(checkpoint, 18)}, {short(name, 16)}" if several else short(name, 26)), pad=0
        )
    return fig


def plot(data: xr.Dataset, ax: Axes3D, marks: tuple[Array, bool] | None = None) -> None:
    """Draw the surface of one checkpoint under one condition; what is not finite is left out.

    Args:
        data: measurement `landscape` of one checkpoint and one condition.
        ax: to draw into.
        marks: levels and whether they are logarithmic; by default what the numbers ask for.
    """
    x, y, z = on_grid(data)
    steps, logarithmic = marks or levels(z)
    norm = (LogNorm if logarithmic else Normalize)(steps[0], steps[-1])
    scaled = np.log10 if logarithmic else np.asarray
    with np.errstate(invalid="ignore"):
        height = np.where(np.isfinite(z), scaled(np.clip(z, steps[0], steps[-1])), np.nan)
    colours = colormaps[COLOURS](norm(np.where(np.isfinite(z), z, steps[0])))
    along, beside = np.meshgrid(x, y)
    ax.plot_surface(
        along,
        beside,
        height,
        facecolors=colours,
        rcount=len(y),
        ccount=len(x),
        linewidth=0.1 if z.size < FINE else 0.0,
        edgecolor="#00000030" if z.size < FINE else None,
        shade=False,
    )
    ticks = steps[:: ceil(len(steps) / 5)]
    ax.set_zticks(scaled(ticks), [label(tick) for tick in ticks])
    ax.set_zlim(*scaled(steps[[0, -1]]))
    ax.set_xlabel("step along $d_0$", fontsize=6.5, labelpad=-7)
    ax.set_ylabel("step along $d_1$", fontsize=6.5, labelpad=-7)
    ax.set_zlabel(VALUE, fontsize=6.5, labelpad=-7)
    ax.tick_params(labelsize=5.5, pad=-3)
    ax.view_init(ELEVATION, AZIMUTH)
    ax.set_box_aspect((1, 1, 0.75), zoom=0.82)
    ax.locator_params("x", nbins=5)
    ax.locator_params("y", nbins=5)


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """Contours and the surface beside them, a row a checkpoint on one scale, with a menu that chooses the condition.

    `layout.meta.linked` lists for each row the traces that are hovered over and the two marks, flat and solid, that
    show the same point on both: the report's script moves them.
    """
    parts = list(select.per_checkpoint(data))
    names = [escape(short(name)) for name, _ in parts] if len(parts) > 1 else [""]
    fig = make_subplots(
        len(parts),
        2,
        specs=[[{"type": "xy"}, {"type": "surface"}]] * len(parts),
        subplot_titles=[title for name in names for title in (name, "")],
        column_widths=[0.45, 0.55],
        horizontal_spacing=0.06,
    )
    steps, logarithmic = levels(select.numbers(data, "plane_loss"))
    conditions = measured(data)
    belongs: list[str] = []  # the condition of each trace; "" of those that are of all
    linked = []
    for row, (_, checkpoint) in enumerate(parts, start=1):
        hovered = []
        for name, one in select.per_condition(checkpoint, "plane_loss"):
            visible = name == conditions[0]
            flat = [_contours(one, steps, logarithmic, visible=visible)]
            flat += [*_dots(one, visible=visible), *_flat_path(one, visible=visible)]
            solid = [_trace(one, steps, logarithmic, visible=visible), *_path(one, visible=visible)]
            for column, traces in ((1, flat), (2, solid)):
                hovered.append(len(belongs))
                for trace in traces:
                    fig.add_trace(trace, row=row, col=column)
                    belongs.append(name)
        fig.add_trace(_mark(go.Scatter, size=9), row=row, col=1)
        fig.add_trace(_mark(go.Scatter3d, size=5, z=[None]), row=row, col=2)
        linked.append({"hovered": hovered, "flat": len(belongs), "solid": len(belongs) + 1})
        belongs += ["", ""]
        fig.update_xaxes(title_text=step_html(data, 0), row=row, col=1)
        fig.update_yaxes(title_text=step_html(data, 1), row=row, col=1)
    fig.update_scenes(
        xaxis_title="α, along d<sub>0</sub>",
        yaxis_title="β, along d<sub>1</sub>",
        zaxis=_z_axis(steps, logarithmic),
        camera={"eye": {"x": 1.25, "y": -1.35, "z": 0.85}, "center": {"x": 0, "y": 0, "z": -0.12}},
        aspectratio={"x": 1, "y": 1, "z": 0.75},
    )
    buttons = [
        {
            "label": escape(name),
            "method": "update",
            "args": [{"visible": [of in (name, "") for of in belongs]}],
        }
        for name in conditions
    ]
    fig.update_layout(
        updatemenus=[
            {
                "buttons": buttons,
                "name": "Condition",
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "pad": {"b": 8},
            }
        ],
        meta={"linked": linked, "logarithmic": logarithmic},
    )
    return finish(fig, heading(title, data), 110 + 430 * len(parts))


def _contours(one: xr.Dataset, steps: Array, logarithmic: bool, *, visible: bool) -> go.Contour:
    x, y, z = on_grid(one)
    low, high = (np.log10 if logarithmic else np.asarray)(steps[[0, -1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log10(z) if logarithmic else z
    return go.Contour(
        x=x,
        y=y,
        z=scaled,
        customdata=np.stack([z, _accuracy(one)], -1),
        zmin=float(low),
        zmax=float(high),
        colorscale="Viridis",
        showscale=False,
        contours={
            "coloring": "heatmap",
            "start": float(low),
            "end": float(high),
            "size": float(high - low) / LINES,
        },
        line={"color": "rgba(255,255,255,0.6)", "width": 1},
        visible=visible,
        hovertemplate="α = %{x:.2f}, β = %{y:.2f}<br>loss %{customdata[0]:.4g}<br>accuracy %{customdata[1]:.3f}",
        name="",
    )


def _trace(one: xr.Dataset, steps: Array, logarithmic: bool, *, visible: bool) -> go.Surface:
    x, y, z = on_grid(one)
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
        customdata=_accuracy(one),
        cmin=float(scaled(steps[0])),
        cmax=float(scaled(steps[-1])),
        colorscale="Viridis",
        colorbar={**bar, "len": 0.7, "thickness": 14},
        contours={"z": {"show": not logarithmic, "color": "rgba(255,255,255,0.4)", "width": 1}},
        visible=visible,
        hovertemplate="α = %{x:.2f}, β = %{y:.2f}<br>loss %{z:.4g}<br>accuracy %{customdata:.3f}",
        name="",
    )


def _accuracy(one: xr.Dataset) -> Array:
    """As (y, x)."""
    return select.numbers(one["plane_accuracy"].transpose("beta", "alpha").to_dataset(), "plane_accuracy")


def _mark(kind: type[go.Scatter] | type[go.Scatter3d], size: int, **more: Any) -> Any:
    """A mark that is nowhere until a point is hovered over."""
    marker = {"color": "white", "size": size, "line": {"color": "black", "width": 2}}
    return kind(
        x=[None], y=[None], mode="markers", marker=marker, hoverinfo="skip", showlegend=False, name="", **more
    )


def _dots(one: xr.Dataset, *, visible: bool) -> list[go.Scatter]:
    """The points that were measured, of a plane that is interpolated between them."""
    if "plane_measured" not in one:
        return []
    x, y = points(one)
    marker = {"color": "rgba(255,255,255,0.6)", "size": 3}
    return [
        go.Scatter(
            x=x,
            y=y,
            mode="markers",
            marker=marker,
            hoverinfo="skip",
            showlegend=False,
            visible=visible,
            name="",
        )
    ]


def _flat_path(one: xr.Dataset, *, visible: bool) -> list[go.Scatter]:
    """The networks of a trajectory at the points of the plane nearest to them."""
    if "waypoint_step" not in one:
        return []
    white = {"line": {"color": "white", "width": 2}, "textfont": {"color": "white"}}
    return [go.Scatter(**_of_waypoints(one), **white, visible=visible)]


def _path(one: xr.Dataset, *, visible: bool) -> list[go.Scatter3d]:
    """The same on the surface; none beyond its ends."""
    if "waypoint_step" not in one:
        return []
    at = one["waypoint_step"]
    height = one["plane_loss"].interp(alpha=at.sel(axis=0), beta=at.sel(axis=1))
    line = {"color": "black", "width": 4}
    return [go.Scatter3d(**_of_waypoints(one), z=height, line=line, visible=visible)]


def _of_waypoints(one: xr.Dataset) -> dict[str, Any]:
    at = one["waypoint_step"]
    return {
        "x": at.sel(axis=0),
        "y": at.sel(axis=1),
        "mode": "lines+markers+text",
        "text": [str(number) for number in range(1, at.sizes["waypoint"] + 1)],
        "textposition": "top center",
        "customdata": [escape(str(name)) for name in at["waypoint"].values],
        "marker": {"color": "white", "size": 5, "line": {"color": "black", "width": 1}},
        "showlegend": False,
        "hovertemplate": "%{text} %{customdata}",
        "name": "",
    }


def _z_axis(steps: Array, logarithmic: bool) -> dict[str, Any]:
    ends = (np.log10 if logarithmic else np.asarray)(steps[[0, -1]])
    ticks = steps[:: ceil(len(steps) / 6)]
    axis = {"title": "loss (nats)", "range": ends.tolist(), "type": "log" if logarithmic else "linear"}
    return {**axis, "tickvals": ticks.tolist(), "ticktext": [label(tick) for tick in ticks]}
