"""Curvature of each layer: κ_ℓ = Tr H_ℓℓ / dim_ℓ."""

import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from geomlab.plots import layerwise, select
from geomlab.plots.scales import Scale, choose
from geomlab.plots.style import PAGE, Drawn, escape, finish, legend, looks, new_figure, plain, short, styled

TITLE = r"Curvature of each layer, the trace of its block per parameter"
LABEL = r"$\kappa_\ell = \mathrm{Tr}\,H_{\ell\ell} / d_\ell$"


VARIABLE = "layer_kappa"
HTML = "κ<sub>ℓ</sub> = Tr H<sub>ℓℓ</sub> / d<sub>ℓ</sub>"


def plot(data: xr.Dataset, ax: Axes, scale: Scale | None = None) -> list[Drawn]:
    """Draw κ of one checkpoint's layers, one series a condition, with 95 % intervals.

    Args:
        data: measurement `curvature` of one checkpoint.
        ax: to draw into.
        scale: of the y axis; by default what the numbers ask for.
    """
    shown = looks(select.conditions(data))
    artists = layerwise.draw(data, ax, VARIABLE, shown, dodge=0.14, bars=select.t_half_widths)
    (scale or choose(select.numbers(data, VARIABLE))).apply(ax)
    names = select.layers(data, VARIABLE)
    layerwise.name_layers(ax, names)
    ax.axhline(0, color="#888888", linewidth=0.6, zorder=1)
    layerwise.stripe(ax, len(names))
    ax.set(xlabel=layerwise.axis_label(names), ylabel=LABEL)
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """Panels of `plot`, one a checkpoint, on one scale."""
    parts, scale = list(select.per_checkpoint(data)), choose(select.numbers(data, VARIABLE))
    same = _same_layers(data)
    fig = new_figure(PAGE, 1.6 + (1.5 if same else 2.6) * len(parts), title)
    axes = fig.subplots(len(parts), 1, sharex=same, sharey=True, squeeze=False).ravel()
    for ax, (name, one) in zip(axes, parts, strict=True):
        plot(one, ax, scale)
        ax.set_title(plain(short(name, 60)) if len(parts) > 1 else "")
        if same:
            ax.label_outer()
    legend(fig, looks(select.conditions(data)), lines=False)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts, scale = list(select.per_checkpoint(data)), choose(select.numbers(data, VARIABLE))
    names = [escape(short(name, 60)) for name, _ in parts] if len(parts) > 1 else None
    same = _same_layers(data)
    height = 100 + (260 if same else 380) * len(parts)
    gap = (45 if same else 170) / height  # room for a title, and for layer names where they differ
    fig = make_subplots(
        len(parts), 1, shared_yaxes="all", shared_xaxes=same, subplot_titles=names, vertical_spacing=gap
    )
    shown = looks(select.conditions(data))
    for row, (_, one) in enumerate(parts, start=1):
        bars = select.t_half_widths
        for trace in layerwise.traces(one, VARIABLE, shown, scale, first=row == 1, dodge=0.13, bars=bars):
            fig.add_trace(trace, row=row, col=1)
        fig.update_xaxes(**layerwise.plotly_axis(select.layers(one, VARIABLE)), row=row)
    fig.update_yaxes(title_text=HTML, **scale.plotly_axis(select.numbers(data, VARIABLE)))
    return finish(fig, title, height + 120)


def _same_layers(data: xr.Dataset) -> bool:
    """Whether all checkpoints have the same layers, so that one axis names them."""
    return len({tuple(select.layers(one, VARIABLE)) for _, one in select.per_checkpoint(data)}) == 1
