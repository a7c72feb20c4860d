"""Features on the first three principal components of the clean ones, all conditions in one space."""

from math import ceil

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from geomlab.plots import select
from geomlab.plots.clouds import PCA, axis_labels, clouds, limits, said
from geomlab.plots.style import PAGE, legend, lines, looks, new_figure, plain, short, styled

ACROSS = 2
ELEVATION, AZIMUTH = 22, -58  # degrees
WIDE, NARROW = 1.1, 0.82  # zoom of the box in a panel that is wider than high, and in a square one


def plot(data: xr.Dataset, ax: Axes3D, *, zoom: float = NARROW) -> None:
    """Draw all conditions of one checkpoint, and from the clean centroid of each class a line to the one here.

    Args:
        data: measurement `features` of one checkpoint.
        ax: to draw into.
        zoom: of the box within its panel.
    """
    found = clouds(data, PCA)
    for one in found:
        look = one.look
        ax.scatter(
            *one.points.T,
            s=5 * zoom**2,
            marker=look.marker,
            color=look.color,
            alpha=0.6,
            linewidths=0,
            depthshade=False,
        )
        for place in one.moved:
            here, before = one.centres[place], one.clean[place]
            if np.isfinite(before).all() and not np.allclose(here, before):
                ax.plot(*np.stack([before, here], axis=1), color=look.color, linewidth=0.9)
                ax.plot(*here[:, None], color=look.color, marker=look.marker, ms=4, mec="black", mew=0.4)
    first = found[0]
    for place in first.moved:
        at = np.where(np.isfinite(first.clean[place]), first.clean[place], first.centres[place])
        ax.text(*at, str(first.classes[place]), fontsize=6.5, zorder=100)
    ends = limits(found)
    ax.set(xlim=ends[0], ylim=ends[1], zlim=ends[2])
    for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), axis_labels(data, PCA), strict=True):
        axis.set_label_text(name, fontsize=7)
        axis.labelpad = -5
        axis.set_major_locator(MaxNLocator(5))
    ax.tick_params(labelsize=5.5, pad=-3)
    spans = np.diff(ends, axis=1)[:, 0]
    ax.set_box_aspect(np.maximum(spans / spans.max(), 0.5), zoom=zoom)
    ax.view_init(ELEVATION, AZIMUTH)


@styled
def figure(data: xr.Dataset, title: str = PCA.title) -> Figure:
    """Panels of `plot`, one a checkpoint, each with its own components."""
    parts = list(select.per_checkpoint(data))
    across = min(len(parts), ACROSS)
    rows = ceil(len(parts) / across)
    fig = new_figure(PAGE, 0.9 + (4.2 if across == 1 else 3.3) * rows, lines(title, said(data, PCA)))
    for place, (name, one) in enumerate(parts, start=1):
        ax = fig.add_subplot(rows, across, place, projection="3d")
        assert isinstance(ax, Axes3D)
        plot(one, ax, zoom=WIDE if across == 1 else NARROW)
        ax.set_title(plain(short(name, 40)) if len(parts) > 1 else "", pad=0)
    shown = looks(select.conditions(data))
    legend(fig, {name: shown[name] for name in select.measured(data, PCA.variable)}, lines=False)
    return fig
