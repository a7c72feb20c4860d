"""The spectral density, and the share of eigenvalues below: where the bulk lies and what stands apart from it."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import select
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

TITLE = "Spectral density, and the share of eigenvalues below"
VALUE = "eigenvalue (nats)"
LABELS = {"density": "spectral density (1/nats)", "cdf": "share of eigenvalues below"}
BULK = 0.99  # share of the eigenvalues that an axis has to show well; ours
WIDE = 20.0  # an axis so many times as long as the bulk reaches from zero hides it where it is linear; ours
MARKERS = 4  # on a curve


def plot(
    data: xr.Dataset, ax: Axes, variable: str = "density", whole: xr.Dataset | None = None
) -> list[Drawn]:
    """Draw the density or the distribution function of one checkpoint, one line a condition, with 95 % bands.

    Args:
        data: measurement `curvature` of one checkpoint.
        ax: to draw into.
        variable: `density`, on a logarithmic axis, or `cdf`.
        whole: of all checkpoints that share the scales; by default `data`.
    """
    whole = data if whole is None else whole
    shown, (low_end, high_end) = looks(select.conditions(data)), _ends(whole, variable)
    artists: list[Drawn] = []
    for place, (name, one) in enumerate(select.per_condition(data, variable)):
        look, (x, *curves) = shown[name], _curve(one, variable)
        # What is cut leaves through the lower edge instead of being a hole: a logarithm has no zero.
        y, low, high = (np.maximum(curve, low_end / 10) for curve in curves)
        artists.append(ax.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0))
        line = {"c": look.color, "ls": look.dash, "lw": 0.8}
        artists += ax.plot(x, y, marker=look.marker, markevery=_marked(one, place), ms=2.8, **line)
    if variable == "density":
        _scale(whole).apply(ax, "x")
        Scale("log").apply(ax)
    else:
        ax.set_xlim(_bulk(whole))
    ax.set_ylim(low_end, high_end)
    ax.axvline(0, color="#888888", linewidth=0.6, zorder=1)
    ax.set(xlabel=VALUE, ylabel=LABELS[variable])
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot`: density and distribution function, a row a checkpoint, on one scale."""
    parts = list(select.per_checkpoint(data))
    fig = new_figure(PAGE, 1.0 + 1.75 * len(parts), title)
    axes = fig.subplots(len(parts), 2, sharey="col", sharex="col", squeeze=False)
    for row, (name, one) in zip(axes, parts, strict=True):
        for ax, variable in zip(row, LABELS, strict=True):
            plot(one, ax, variable, data)
            if ax not in axes[-1]:
                ax.set_xlabel("")
        about = [short(name)] if len(parts) > 1 else []
        row[0].set_title(plain(", ".join([*about, _smoothing(one)])))
    legend(fig, looks(select.conditions(data)))
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, shown = list(select.per_checkpoint(data)), looks(select.conditions(data))
    scales = {"density": _scale(data), "cdf": Scale("linear")}
    prefix = [f"{escape(short(name))}: " if len(parts) > 1 else "" for name, _ in parts]
    titles = [start + what for start in prefix for what in ("density", "share below")]
    height = 90 + 330 * len(parts)
    gap = 50 / height  # room for a title
    fig = make_subplots(len(parts), 2, subplot_titles=titles, shared_xaxes="columns", vertical_spacing=gap)
    for row, (_, checkpoint) in enumerate(parts, start=1):
        for col, variable in enumerate(LABELS, start=1):
            for name, one in select.per_condition(checkpoint, variable):
                common = {"legendgroup": name, "name": escape(name)}
                for trace in _traces(one, variable, shown[name], scales[variable], _ends(data, variable)[0]):
                    fig.add_trace(trace.update(common), row, col)
                fig.data[-1].showlegend = row == col == 1
            fig.update_yaxes(title_text=LABELS[variable], **_axis(data, variable), row=row, col=col)
    fig.update_xaxes(**scales["density"].plotly_axis(select.numbers(data, "density_at")), col=1)
    fig.update_xaxes(range=_bulk(data), col=2)
    fig.update_xaxes(title_text=VALUE, row=len(parts))
    return finish(fig, title, height)


def _traces(one: xr.Dataset, variable: str, look: Look, scale: Scale, least: float) -> list[go.Scatter]:
    """The ends of the band, and the line, which alone answers to the mouse."""
    x, *curves = _curve(one, variable)
    y, low, high = (np.maximum(curve, least / 10).astype(np.float32) for curve in curves)
    common: dict[str, Any] = {"x": scale.forward(x).astype(np.float32), "mode": "lines", "showlegend": False}
    edge = {**common, "line": {"width": 0}, "hoverinfo": "skip"}
    width = label(float(f"{float(select.numbers(one, 'density_width')):.2g}"))
    said = "at %{customdata[0]:.4g}: %{customdata[1]:.3g} [%{customdata[2]:.3g}, %{customdata[3]:.3g}]"
    return [
        go.Scatter(y=low, **edge),
        go.Scatter(y=high, fill="tonexty", fillcolor=look.faint(), **edge),
        go.Scatter(
            y=y,
            **common,
            line={"color": look.color, "dash": look.plotly_dash, "width": 1.6},
            customdata=np.stack([x, *curves], axis=1).astype(np.float32),  # half the size of a page
            hovertemplate=f"{said}<br>smoothed by a normal of width {width}",
        ),
    ]


def _marked(one: xr.Dataset, place: int) -> list[int]:
    """Points of a curve that carry a marker: in the bulk, not on peaks of single eigenvalues, nor where others do."""
    share = _curve(one, "cdf")[1]
    wanted = np.linspace(0.004, 0.99, MARKERS * 6)[place % 6 :: 6]
    return sorted({int(i) for i in np.searchsorted(share, wanted) if i < len(share)})


def _curve(one: xr.Dataset, variable: str) -> list[Array]:
    """Eigenvalues, values, and the ends of their 95 % intervals."""
    names = ("density_at", variable, f"{variable}_low", f"{variable}_high")
    x, y, low, high = (np.broadcast_to(select.numbers(one, name), one.sizes["point"]) for name in names)
    there = np.isfinite(x) & np.isfinite(y)
    ends = [np.where(np.isfinite(end), end, y) for end in (low, high)]
    return [values[there] for values in (x, y, *ends)]


def _ends(data: xr.Dataset, variable: str) -> tuple[float, float]:
    """Ends of the y axis, the same for all.

    A single eigenvalue, smoothed, is 1/(dim·width·√(2π)) high. Nothing lower is there: it is the foot of a normal,
    which falls to 1e-300 between eigenvalues, or a weight that a probe gave to less than one eigenvalue. The axis
    ends at a fifth of the lowest such peak, so that it can be told from the foot.
    """
    if variable == "cdf":
        return -0.02, 1.02
    areas = select.numbers(data, "dim") * select.numbers(data, "density_width") * np.sqrt(2 * np.pi)
    tops = np.append(select.numbers(data, "density"), select.numbers(data, "density_high"))
    highest = float(tops[np.isfinite(tops)].max(initial=0)) or 1.0
    areas = areas[np.isfinite(areas) & (areas > 0)]
    return 0.2 / float(areas.max()) if areas.size else 1e-9 * highest, 2 * highest


def _axis(data: xr.Dataset, variable: str) -> dict[str, Any]:
    """Settings of plotly's y axis."""
    ends = _ends(data, variable)
    if variable == "cdf":
        return {"range": list(ends)}
    return {**Scale("log").plotly_axis(np.array(ends)), "range": np.log10(ends).tolist()}


def _reach(data: xr.Dataset) -> tuple[Array, Array]:
    """How far the bulk reaches down and up, of each condition and checkpoint."""
    x, share = (select.numbers(data, v).reshape(-1, data.sizes["point"]) for v in ("density_at", "cdf"))
    low, high = [], []
    for at, below in zip(x, share, strict=True):
        if np.isfinite(below).any():
            low.append(np.nanmax(at[below < (1 - BULK) / 2], initial=np.nanmin(at)))
            high.append(np.nanmin(at[below > (1 + BULK) / 2], initial=np.nanmax(at)))
    return (np.array(low), np.array(high)) if low else (np.zeros(1), np.zeros(1))


def _bulk(data: xr.Dataset) -> tuple[float, float]:
    """Where all bulks are, with a margin: beyond, the distribution function is 0 or 1 as far as one sees."""
    low, high = _reach(data)
    ends = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    margin = 0.2 * (ends[1] - ends[0] or 1.0)
    return ends[0] - margin, ends[1] + margin


def _scale(data: xr.Dataset) -> Scale:
    """Of the eigenvalues: linear as far as the bulk reaches, and where others are far from it logarithmic beyond."""
    x = select.numbers(data, "density_at")
    bulk = float(np.median(np.abs(_reach(data)).max(axis=0)))
    if not bulk or np.nanmax(x) - np.nanmin(x) < WIDE * bulk:
        return Scale("linear")
    return Scale("symlog", float(10.0 ** np.round(np.log10(bulk))), middle=1.0)


def _smoothing(data: xr.Dataset) -> str:
    """How wide the normal is that smooths, over the conditions."""
    found = select.numbers(data, "density_width")
    found = found[np.isfinite(found)]
    if not found.size:
        return "not measured"
    ends = dict.fromkeys(label(float(f"{end:.2g}")) for end in (found.min(), found.max()))
    return f"smoothed by a normal of width {'–'.join(ends)}"
