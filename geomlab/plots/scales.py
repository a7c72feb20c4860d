"""Which scale a range of numbers asks for, in both libraries."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, SymmetricalLogLocator
from numpy.typing import ArrayLike, NDArray

WIDE = 30.0  # a ratio of magnitudes beyond which a linear axis hides the small ones; ours

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A scale of an axis.

    Attributes:
        kind: `linear`, `log`, or `symlog`, which is linear between ± threshold and logarithmic beyond.
        threshold: of symlog.
        middle: decades as wide as half of the linear part of symlog, in matplotlib.
    """

    kind: str
    threshold: float = 1.0
    middle: float = 0.5

    def apply(self, ax: Axes, which: Literal["x", "y"] = "y") -> None:
        """Set an axis of an Axes."""
        axis, set_scale = (ax.xaxis, ax.set_xscale) if which == "x" else (ax.yaxis, ax.set_yscale)
        if self.kind == "symlog":
            set_scale("symlog", linthresh=self.threshold, linscale=self.middle)
            locator = SymmetricalLogLocator(base=10, linthresh=self.threshold)
            locator.set_params(numticks=7)
            axis.set_major_locator(locator)
        elif self.kind == "log":
            set_scale("log")
        if self.kind != "linear":
            axis.set_major_formatter(FuncFormatter(lambda y, _: power_label(y)))
            axis.set_minor_formatter(NullFormatter())

    def forward(self, values: ArrayLike) -> Array:
        """Values as drawn by plotly, which has no symlog: sign(y)·log10(1 + |y|/threshold)."""
        y = np.asarray(values, dtype=np.float64)
        return np.sign(y) * np.log10(1 + np.abs(y) / self.threshold) if self.kind == "symlog" else y

    def plotly_axis(self, values: ArrayLike) -> dict[str, Any]:
        """Settings of a plotly axis on which `forward(values)` is drawn."""
        if self.kind == "linear":
            return {"type": "linear"}
        y = np.asarray(values, dtype=np.float64)
        y = y[np.isfinite(y)]
        if self.kind == "log":
            marks = log_ticks(float(y.min()), float(y.max()))
            return {"type": "log", "tickvals": marks, "ticktext": [label(mark) for mark in marks]}
        first, last = np.floor(np.log10(self.threshold)), np.ceil(np.log10(np.abs(y).max()))
        tens = 10.0 ** np.arange(first, last + 1)
        ticks = [t for t in (*-tens[::-1], 0.0, *tens) if y.min() * 1.5 <= t <= y.max() * 1.5 or t == 0]
        return {
            "tickvals": self.forward(ticks).tolist(),
            "ticktext": [label(t) for t in ticks],
        }

    def plotly_range(self, values: ArrayLike) -> dict[str, Any]:
        """Settings of a plotly axis, linear or logarithmic, that shows all finite values with a margin."""
        y = np.asarray(values, dtype=np.float64)
        y = y[np.isfinite(y)]
        if self.kind == "log":
            return {
                **self.plotly_axis(y),
                "range": [float(np.log10(y.min()) - 0.05), float(np.log10(y.max()) + 0.05)],
            }
        margin = 0.05 * float(y.max() - y.min() or 1.0)
        return {"range": [float(y.min()) - margin, float(y.max()) + margin]}


def choose(values: ArrayLike) -> Scale:
    """The scale for a set of numbers; those that are not finite are left out."""
    y = np.asarray(values, dtype=np.float64)
    y = y[np.isfinite(y)]
    sizes = np.abs(y[y != 0])
    if sizes.size < 2 or sizes.max() / np.quantile(sizes, 0.05) < WIDE:
        return Scale("linear")
    if (y > 0).all():
        return Scale("log")
    return Scale("symlog", 10.0 ** np.floor(np.log10(np.quantile(sizes, 0.15))))


def levels(values: ArrayLike, count: int = 9) -> tuple[Array, bool]:
    """Round contour levels that cover the finite values, and whether they are logarithmic."""
    z = np.asarray(values, dtype=np.float64)
    z = z[np.isfinite(z)]
    low, high = float(z.min()), float(z.max())
    if low > 0 and high / low > WIDE:
        return _log_levels(low, high, count), True
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = _nice((high - low) / count)
    return np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step, False


def _log_levels(low: float, high: float, count: int) -> Array:
    for marks in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        found = np.array([mark * 10.0**decade for decade in decades for mark in marks])
        inside = found[(found >= found[found <= low].max()) & (found <= found[found >= high].min())]
        if inside.size <= count + 4:
            break
    return np.asarray(inside, dtype=np.float64)


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: 1, 2, 5 of each decade, of many decades only 1."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    marks = (1,) if len(decades) > 4 else (1, 2, 5)
    return [float(mark * 10.0**decade) for decade in decades for mark in marks]


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(mark * power for mark in (1, 2, 2.5, 5, 10) if mark * power >= step * (1 - 1e-9)))


def label(value: float) -> str:
    """A level or tick as text."""
    return f"{value:.4g}".replace("-", "−")


def power_label(value: float) -> str:
    """A tick of a logarithmic axis: 0.01 to 1000 in full, else a power of ten."""
    if value == 0 or 1e-2 <= abs(value) <= 1e3:
        return label(value)
    sign, power = "−" if value < 0 else "", np.log10(abs(value))
    if abs(power - round(power)) < 1e-9:
        return f"{sign}$10^{{{round(power)}}}$"
    return f"{sign}{abs(value):.0e}"
