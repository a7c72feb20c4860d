"""The terms of the bound over σ, and at one σ for all checkpoints: which term a method fails."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from plotly.subplots import make_subplots

from geomlab.plots import select
from geomlab.plots.scales import Scale
from geomlab.plots.style import GREY, PAGE, REMARK, Drawn, escape, finish, new_figure, plain, short, styled
from geomlab.plots.terms import LOOKS, Curve, clean, curves, limits, remark
from geomlab.results.terms import TERMS, common_sigma

TITLE = "Terms of the robust PAC-Bayes bound, and which is the largest"
LABELS = {
    "(A)": r"(A) $\Vert\theta-\theta_0\Vert^2/2n\sigma^2$",
    "(B)": r"(B) $\frac{1}{2}\sigma^2\,\mathrm{Tr}\,H$",
    "(C)": r"(C) $L_f\,\times$ distance of features",
}
HTML = {
    "(A)": "(A) ‖θ−θ₀‖²/2nσ²",
    "(B)": "(B) ½σ² Tr H",
    "(C)": "(C) L<sub>f</sub> × distance of features",
}
LOG = Scale("log")
ABREAST = 3  # panels beside one another
DODGE = 0.22  # between the terms of a checkpoint
Parts = Sequence[tuple[str, xr.Dataset]]


def plot(data: xr.Dataset, ax: Axes) -> list[Drawn]:
    """Draw the terms of one checkpoint over σ.

    Args:
        data: measurement `bound` of one checkpoint.
        ax: to draw into; both axes become logarithmic.
    """
    one, artists = clean(data), list[Drawn]()
    sigma = one["sigma"].values
    for curve in curves(one, sigma):
        look = LOOKS[curve.term]
        for low, high, opacity in ((curve.least, curve.most, 0.13), (curve.low, curve.high, 0.35)):
            if (high > low).any():
                artists.append(
                    ax.fill_between(sigma, low, high, color=look.color, alpha=opacity, linewidth=0)
                )
        artists += ax.plot(
            sigma, curve.value, color=look.color, linestyle=":" if curve.negative else look.dash
        )
    for at, label in _labels(one).items():
        artists.append(ax.axvline(at, color="#555555", linewidth=0.7, linestyle=(0, (1, 2))))
        top: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "right", "va": "top"}
        artists.append(ax.text(at, 0.99, label, rotation=90, fontsize=6, color="#555555", **top))
    ax.set(xscale="log", yscale="log", xlabel=r"$\sigma$", ylabel="term")
    LOG.apply(ax)
    LOG.apply(ax, "x")
    x, y = limits([one])
    ax.set(xlim=x, ylim=y)
    # Below the crossing of (A) and (B) there is room.
    ax.text(
        0.5, 0.03, remark(one), transform=ax.transAxes, ha="center", va="bottom", fontsize=6.5, color=REMARK
    )
    return artists


def plot_at(data: xr.Dataset, ax: Axes) -> list[Drawn]:
    """Draw the terms of all checkpoints at one σ.

    Args:
        data: measurement `bound` of one or several checkpoints.
        ax: to draw into; its y axis becomes logarithmic.
    """
    parts, artists = _parts(data), list[Drawn]()
    for x, curve in _points(parts):
        look = LOOKS[curve.term]
        for low, high, width in ((curve.least, curve.most, 0.7), (curve.low, curve.high, 2.2)):
            artists += ax.plot([x, x], [low[0], high[0]], color=look.color, linewidth=width, zorder=2)
        artists += ax.plot(
            [x],
            curve.value,
            marker=look.marker,
            color=look.color,
            markersize=5.5,
            linestyle="none",
            markerfacecolor=look.color if curve.leads else "white",
            zorder=3,
        )
        if curve.negative:
            below: dict[str, Any] = {
                "xytext": (0, -6),
                "textcoords": "offset points",
                "ha": "center",
                "va": "top",
            }
            at = (x, float(curve.value[0]))
            artists.append(ax.annotate("below 0", at, fontsize=6, color=REMARK, **below))
    ax.set_xticks(range(len(parts)), [plain(short(name, 60 // len(parts))) for name, _ in parts])
    ax.set_xlim(-0.5, len(parts) - 0.5)
    ax.grid(axis="x", visible=False)
    ax.set(yscale="log", ylabel="term")
    LOG.apply(ax)
    ax.set_ylim(*limits([one for _, one in parts])[1])
    return artists


@styled
def figure(data: xr.Dataset, title: str = TITLE) -> Figure:
    """A panel of `plot` for each checkpoint, and one of `plot_at` for all."""
    parts = _parts(data)
    apart = len(parts) > ABREAST - 1  # the last panel has a row of its own
    rows = ceil(len(parts) / ABREAST)
    columns = ABREAST if apart else len(parts) + 1
    fig = new_figure(PAGE, 1.0 + 1.9 * (rows + apart), title)
    ratios = [2, 1] if len(parts) == 1 else None
    grid = fig.add_gridspec(rows + apart, columns, width_ratios=ratios)
    for number, (name, one) in enumerate(parts):
        row, column = divmod(number, ABREAST)
        ax = fig.add_subplot(grid[row, column])
        plot(one, ax)
        ax.set_title(plain(short(name, 40)) if len(parts) > 1 else "over the prior's width")
        x, y = limits([every for _, every in parts])
        ax.set(xlim=x, ylim=y, ylabel="" if column else "term")
    last = fig.add_subplot(grid[-1, :] if apart else grid[0, -1])
    plot_at(data, last)
    last.set_title(_where(parts))
    fig.legend(handles=_handles(parts), loc="outside lower center", ncols=3)
    return fig


def interactive(data: xr.Dataset, title: str = TITLE) -> go.Figure:
    """The same for a browser."""
    parts = _parts(data)
    names = [escape(short(name, 40)) if len(parts) > 1 else "over the prior's width" for name, _ in parts]
    columns = min(ABREAST, len(parts) + 1)
    rows = ceil((len(parts) + 1) / columns)
    titles = [*names, _where(parts).replace(r"$\sigma$", "σ")]
    fig = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=0.3 / rows)
    xlim, ylim = (np.log10(ends).tolist() for ends in limits([one for _, one in parts]))
    for number, (_, one) in enumerate(parts):
        where = {"row": number // columns + 1, "col": number % columns + 1}
        for trace in _traces(one, first=number == 0):
            fig.add_trace(trace, **where)
        for at in one["at"].values.astype(int):
            fig.add_vline(
                one["sigma"].values[at], line={"color": "#888888", "width": 1, "dash": "dot"}, **where
            )
        fig.update_xaxes(type="log", range=xlim, title_text="σ", exponentformat="power", **where)
    where = {"row": len(parts) // columns + 1, "col": len(parts) % columns + 1}
    for x, curve in _points(parts):
        fig.add_trace(_marker(x, curve), **where)
    ticks = [escape(short(name, 20)) for name, _ in parts]
    fig.update_xaxes(tickvals=list(range(len(parts))), ticktext=ticks, **where)
    fig.update_yaxes(type="log", range=ylim, exponentformat="power")
    fig.update_yaxes(title_text="term", col=1)
    return finish(fig, title, 60 + 320 * rows)


def _traces(one: xr.Dataset, *, first: bool) -> list[go.Scatter]:
    sigma, found = one["sigma"].values, []
    for curve in curves(one, sigma):
        look = LOOKS[curve.term]
        common: dict[str, Any] = {"legendgroup": curve.term, "hoverinfo": "skip", "mode": "lines"}
        for low, high, opacity in ((curve.least, curve.most, 0.13), (curve.low, curve.high, 0.35)):
            if (high > low).any():
                x, y = np.append(sigma, sigma[::-1]), np.append(high, low[::-1])
                band = {"fill": "toself", "fillcolor": look.faint(opacity), "line": {"width": 0}}
                found.append(go.Scatter(x=x, y=y, showlegend=False, **band, **common))
        found.append(
            go.Scatter(
                x=sigma,
                y=curve.value,
                name=HTML[curve.term],
                legendgroup=curve.term,
                showlegend=first,
                mode="lines",
                line={"color": look.color, "dash": "dot" if curve.negative else look.plotly_dash, "width": 2},
                hovertemplate=f"{curve.term} at σ = %{{x:.3g}}: {curve.sign}%{{y:.4g}}",
            )
        )
    return found


def _marker(x: float, curve: Curve) -> go.Scatter:
    look, value = LOOKS[curve.term], float(curve.value[0])
    return go.Scatter(
        x=[x],
        y=[value],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [float(curve.high[0]) - value],
            "arrayminus": [value - float(curve.low[0])],
            "thickness": 3,
            "width": 0,
        },
        mode="markers",
        legendgroup=curve.term,
        showlegend=False,
        marker={
            "symbol": look.symbol if curve.leads else f"{look.symbol}-open",
            "size": 11,
            "color": look.color,
        },
        customdata=[[curve.sign, float(curve.least[0]), float(curve.most[0])]],
        hovertemplate=f"{curve.term} %{{customdata[0]}}%{{y:.4g}}<br>swept: %{{customdata[1]:.3g}} to "
        "%{customdata[2]:.3g}<extra></extra>",
    )


def _parts(data: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    return [(name, clean(one)) for name, one in select.per_checkpoint(data)]


def _sigma(parts: Parts) -> float:
    """The σ of `plot_at`: of the middle n."""
    middle = max(one.sizes["trained_on"] for _, one in parts) // 2
    return common_sigma([one for _, one in parts], middle)


def _points(parts: Parts) -> list[tuple[float, Curve]]:
    """Each term of each checkpoint at the common σ, with its place along x."""
    at = np.array([_sigma(parts)])
    return [
        (x + DODGE * (TERMS.index(curve.term) - 1), curve)
        for x, (_, one) in enumerate(parts)
        for curve in curves(one, at)
    ]


def _labels(one: xr.Dataset) -> dict[float, str]:
    """The σ that are reported, and what they are."""
    sizes, sigma = one["trained_on"].values.astype(int), one["sigma"].values[one["at"].values.astype(int)]
    best = np.isfinite(one["sigma_best"].values).all()
    usual = "(A) = (B)" if best else "reported"
    names = [f"n = {n:,}" for n in sizes] if len(set(sigma.tolist())) > 1 else [usual] * len(sizes)
    return dict(zip(sigma.tolist(), names, strict=True))


def _where(parts: Parts) -> str:
    """What the last panel is of."""
    sizes = {tuple(one["trained_on"].values.astype(int).tolist()) for _, one in parts}
    middle = {found[len(found) // 2] for found in sizes}
    n = f", n = {middle.pop():,}" if len(middle) == 1 else ""
    return rf"at $\sigma$ = {_sigma(parts):.2g}{n}"


def _handles(parts: Parts) -> list[Line2D]:
    """Of the terms, and below each of them what markers and bands are."""
    swept = "$L_f$ swept" if all(float(one["n_known"]) for _, one in parts) else "$L_f$ and n swept"
    keys = (
        Line2D(
            [], [], color=GREY, linestyle="none", marker="o", label="filled: largest, or not surely smaller"
        ),
        Line2D(
            [],
            [],
            color=GREY,
            linestyle="none",
            marker="o",
            markerfacecolor="white",
            label="hollow: surely smaller",
        ),
        Line2D([], [], color="#cccccc", linewidth=4, label=f"pale, thin: {swept}"),
    )
    found = []
    for (term, look), key in zip(LOOKS.items(), keys, strict=True):
        line = Line2D([], [], color=look.color, linestyle=look.dash, marker=look.marker, label=LABELS[term])
        found += [line, key]
    return found
