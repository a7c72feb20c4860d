"""One look: colours, markers and lines of the conditions, sizes, templates."""

import io
import textwrap
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import plotly.graph_objects as go
from matplotlib import style as mpl_style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLUMN, PAGE = 3.25, 6.875  # widths of a column and of a page in CVPR's format, inches
STYLE = Path(__file__).with_name("geomlab.mplstyle")

# Okabe and Ito (2008): told apart with any colour vision, and on paper and screen, light and dark.
BLUE, VERMILLION, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2",
    "#D55E00",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#C9B800",
    "#7F7F7F",
)
REMARK = "#a03000"
BY_KIND = {
    "clean": (BLUE,),
    "adversarial": (VERMILLION, ORANGE, PURPLE),
    "domain": (GREEN, PURPLE, YELLOW),
    "corruption": (SKY, YELLOW, GREY),
}
COLOURS = (BLUE, VERMILLION, GREEN, SKY, ORANGE, PURPLE, YELLOW, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PLOTLY_MARKERS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")
DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 2)), (0, (6, 2)), (0, (1, 2.5)))
PLOTLY_DASHES = ("solid", "dash", "dashdot", "dot", "longdashdot", "8px,4px", "longdash", "2px,6px")

Drawn = Artist | Container
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Look:
    """How a condition looks in every figure.

    Attributes:
        color: hexadecimal.
        index: into the markers and dashes, so that a grey print still tells conditions apart.
    """

    color: str
    index: int

    @property
    def marker(self) -> str:
        """Matplotlib's marker."""
        return MARKERS[self.index % len(MARKERS)]

    @property
    def dash(self) -> Any:
        """Matplotlib's line style."""
        return DASHES[self.index % len(DASHES)]

    @property
    def symbol(self) -> str:
        """Plotly's marker."""
        return PLOTLY_MARKERS[self.index % len(PLOTLY_MARKERS)]

    @property
    def plotly_dash(self) -> str:
        """Plotly's line style."""
        return PLOTLY_DASHES[self.index % len(PLOTLY_DASHES)]

    def faint(self, opacity: float = 0.2) -> str:
        """The colour as CSS, see-through."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


def kind(condition: str) -> str:
    """`clean`, `adversarial`, `domain` or `corruption`, from a condition's name."""
    head = condition.partition(":")[0]
    return head if head in ("clean", "domain", "corruption") else "adversarial"


def looks(conditions: Iterable[str]) -> dict[str, Look]:
    """A look for each condition: the colour by its kind, then by what is left; the rest by its place."""
    found: dict[str, Look] = {}
    for index, condition in enumerate(map(str, conditions)):
        taken = {look.color for look in found.values()}
        free = [color for color in (*BY_KIND[kind(condition)], *COLOURS) if color not in taken]
        found[condition] = Look(free[0] if free else COLOURS[index % len(COLOURS)], index)
    return found


def context() -> AbstractContextManager[None]:
    """The style, for as long as the context lasts; the caller's settings come back."""
    return mpl_style.context(["default", STYLE])


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that lays out a figure in the style."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with context():
            return function(*args, **kwargs)

    return inner


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot."""

    def _repr_png_(self) -> bytes:
        return save(self, "png", dpi=160)


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure with constrained layout, outside pyplot's state.

    Args:
        width: inches.
        height: inches.
        title: a first line in words, further lines for data, n and seed.
    """
    figure = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(_wrapped(plain(title), width), x=0.01, ha="left", linespacing=1.25)
    return figure


def settle(figure: Figure) -> Figure:
    """Lay a finished figure out for good, so that saving it in several formats does not do it again."""
    with context():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, kind: str, *, dpi: int = 200) -> bytes:
    """The bytes of a figure as `pdf`, `png` or `svg`: the same figure gives the same bytes."""
    out = io.BytesIO()
    canvas, before = figure.canvas, figure.dpi
    with context(), warnings.catch_warnings():
        # A name may hold a letter that no font here has; it is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        try:
            figure.dpi = dpi
            # Not savefig, which draws everything twice to lay it out.
            if kind == "pdf":
                FigureCanvasPdf(figure).print_pdf(out, metadata={"CreationDate": None})
            elif kind == "svg":
                FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
            else:
                FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
        finally:
            figure.dpi = before
            figure.set_canvas(canvas)
    return out.getvalue()


def legend(
    figure: Figure, shown: dict[str, Look], *, lines: bool = True, columns: int = 5, heading: str = ""
) -> None:
    """One legend for the whole figure, below it.

    Args:
        figure: to add it to.
        shown: condition -> look.
        lines: whether the series are joined by lines.
        columns: at most.
        heading: a line above it.
    """
    handles = [
        Line2D(
            [], [], color=look.color, marker=look.marker, linestyle=look.dash if lines else "none", label=name
        )
        for name, look in shown.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), title=heading or None
    )


def note(ax: Axes, text: str) -> None:
    """A remark inside a panel, in its lower left corner."""
    ax.text(0.02, 0.03, text, transform=ax.transAxes, ha="left", va="bottom", fontsize=6.5, color=REMARK)


def template(*, dark: bool = False) -> go.layout.Template:
    """The look of the interactive figures; the page behind shows through."""
    ink, grid = ("#e8e8e8", "#3c4048") if dark else ("#1b1f24", "#e1e4e8")
    axis: dict[str, Any] = {
        "gridcolor": grid,
        "zerolinecolor": grid,
        "linecolor": grid,
        "ticks": "outside",
        "tickcolor": grid,
    }
    scene = {**axis, "backgroundcolor": "rgba(0,0,0,0)", "showbackground": False}
    axis |= {"automargin": True, "title": {"standoff": 8}}
    button = "#2a2f37" if dark else "#ffffff"
    return go.layout.Template(
        layout={
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": scene, "yaxis": scene, "zaxis": scene},
            "colorscale": {"sequential": "Viridis"},
            "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
            "legend": {"orientation": "h", "groupclick": "togglegroup"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8a929b", "activecolor": ink},
            "updatemenudefaults": {"bgcolor": button, "bordercolor": grid, "font": {"color": ink}},
        }
    )


def finish(figure: go.Figure, title: str, height: int) -> go.Figure:
    """Give an interactive figure its template, title and height; the legend lies between title and panels.

    Args:
        figure: to finish.
        title: lines of text; "" leaves no room for one.
        height: of the panels, pixels.
    """
    lines = escape(title).split("\n")
    above = 34 + 18 * len(lines) if title else 0
    total = height + above
    legend = {"yref": "container", "yanchor": "top", "y": 1 - above / total, "x": 0, "xanchor": "left"}
    figure.update_layout(
        template=template(),
        height=total,
        margin={"l": 60, "r": 20, "t": above + 62, "b": 40},
        legend=legend,
    )
    if title:
        text = lines[0] + "".join(f"<br><sup>{line}</sup>" for line in lines[1:])
        figure.update_layout(
            title={"text": text, "x": 0.01, "yref": "container", "y": 0.98, "yanchor": "top"}
        )
    return figure


def lines(*parts: str) -> str:
    """Lines of a title; without one there is nothing."""
    return "\n".join(filter(None, parts)) if parts[0] else ""


def short(name: str, width: int = 30) -> str:
    """A name cut in its middle to at most `width` characters."""
    name = " ".join(name.split())
    return name if len(name) <= width else f"{name[: width // 2 - 1]}…{name[-(width - width // 2) :]}"


def escape(text: str) -> str:
    """Text for plotly, which reads a few HTML tags in labels."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str) -> str:
    """Text for matplotlib, which reads dollars as mathematics."""
    return text.replace("$", r"\$")


def _wrapped(text: str, width: float) -> str:
    """Lines that fit a width in inches; in this font an inch holds about 21 letters."""
    return "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, int(21 * width)))
