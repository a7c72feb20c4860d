"""Projected features for a browser: in space or in the plane, coloured by condition or by class."""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.clouds import PCA, Cloud, Space, axis_labels, clouds, said
from geomlab.plots.style import escape, finish, kind, lines, short
from geomlab.results.features import class_names

ACROSS = 2
MOST = 4  # checkpoints: a browser has few places for scenes
SCALE = "Turbo"  # of the classes
XYZ = ("x", "y", "z")


def interactive(data: xr.Dataset, title: str = PCA.title, space: Space = PCA) -> go.Figure:
    """Points of all conditions, which the legend shows and hides, with lines from clean centroids to those here."""
    parts = list(select.per_checkpoint(data))[:MOST]
    across, dims = min(len(parts), ACROSS), data.sizes[space.dim]
    rows = ceil(len(parts) / across)
    fig = make_subplots(
        rows,
        across,
        specs=[[{"type": "scene" if dims == 3 else "xy"}] * across] * rows,
        subplot_titles=[escape(short(name, 40)) for name, _ in parts] if len(parts) > 1 else None,
        horizontal_spacing=0.02 if dims == 3 else 0.1,
        vertical_spacing=0.2 / rows,
    )
    names, by_class = class_names(data), []
    for place, (_, one) in enumerate(parts):
        where = {"row": place // across + 1, "col": place % across + 1}
        for cloud in clouds(one, space):
            for trace, colours in _traces(cloud, names, first=place == 0):
                fig.add_trace(trace, **where)
                by_class.append(colours)
        _name_axes(fig, axis_labels(one, space), where, far=1.0 if across == 1 else 1.15)
    by_condition = [trace.marker.color for trace in fig.data]
    buttons = [
        {"label": label, "method": "restyle", "args": [{"marker.color": colours}]}
        for label, colours in (("by condition", by_condition), ("by class", by_class))
    ]
    menu = {"buttons": buttons, "name": "Colour", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    fig.update_layout(updatemenus=[menu])
    left = f"the first {MOST} of {len(select.checkpoints(data))} checkpoints" if _cut(data) else ""
    height = 100 + (480 if across == 1 else 420) * rows
    return finish(fig, lines(title, said(data, space), left), height).update_layout(
        legend_itemsizing="constant"
    )


def _cut(data: xr.Dataset) -> bool:
    return len(select.checkpoints(data)) > MOST


def _traces(cloud: Cloud, names: dict[int, str], *, first: bool) -> Iterator[tuple[Any, Any]]:
    """The traces of a condition, each with its colours by class: points, moves of centroids, and names of classes."""
    look, numbers = cloud.look, list(names)
    common = {"name": escape(cloud.condition), "legendgroup": cloud.condition}
    ranks = [numbers.index(label) for label in cloud.labels.tolist()]
    spread = {"colorscale": SCALE, "cmin": 0, "cmax": max(len(names) - 1, 1)}
    yield (
        _scatter(
            cloud.points,
            **common,
            showlegend=first,
            mode="markers",
            marker={
                "size": 2.5 if cloud.points.shape[1] == 3 else 5,
                "color": look.color,
                "opacity": 0.7,
                **spread,
            },
            text=[escape(names[label]) for label in cloud.labels.tolist()],
            customdata=cloud.samples.astype(np.int32),
            hovertemplate="class %{text}, sample %{customdata}",
        ),
        ranks,
    )
    ends = cloud.moved[np.isfinite(cloud.clean[cloud.moved]).all(axis=1)]
    if not np.allclose(cloud.centres[ends], cloud.clean[ends]):
        here, before = cloud.centres[ends], cloud.clean[ends]
        path = np.stack([before, here, here * np.nan], axis=1).reshape(-1, here.shape[-1])
        moved = [escape(names[number]) for number in cloud.classes[ends].tolist()]
        yield (
            _scatter(
                path,
                **common,
                showlegend=False,
                mode="lines+markers",
                line={"color": look.color, "width": 4 if path.shape[1] == 3 else 2},
                marker={"size": [0, 7, 0] * len(ends), "color": look.color},
                text=[word for name in moved for word in (name, name, "")],
                hovertemplate="centroid of class %{text}",
            ),
            look.color,
        )
    if kind(cloud.condition) == "clean":
        at = cloud.moved
        words = [escape(short(names[number], 14)) for number in cloud.classes[at].tolist()]
        yield (
            _scatter(
                cloud.centres[at],
                name="names of classes",
                legendgroup="names",
                showlegend=first,
                legendrank=2000,  # behind the conditions
                mode="text",
                text=words,
                hoverinfo="skip",
            ),
            look.color,
        )


def _scatter(points: Any, **settings: Any) -> Any:
    """A trace in the plane or in space; in single precision, for a small report."""
    axes = dict(zip(XYZ, points.T.astype(np.float32), strict=False))
    return (go.Scatter3d if points.shape[1] == 3 else go.Scatter)(**axes, **settings)


def _name_axes(fig: go.Figure, names: list[str], where: dict[str, int], *, far: float) -> None:
    """Name the axes; of a scene also say from how far it is seen."""
    if len(names) == 3:
        titles = {f"{axis}axis_title": name for axis, name in zip(XYZ, names, strict=True)}
        eye = {"x": 1.35 * far, "y": -1.45 * far, "z": 0.8 * far}
        camera = {"eye": eye, "center": {"x": 0, "y": 0, "z": -0.2}}
        fig.update_scenes(**titles, aspectmode="data", camera=camera, **where)
    else:
        fig.update_xaxes(title_text=names[0], **where)
        fig.update_yaxes(title_text=names[1], **where)
