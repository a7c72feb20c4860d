"""The bound's terms as what is drawn of them: sizes, bands, and how far the axes reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geomlab.plots.style import BLUE, GREEN, VERMILLION, Look
from geomlab.results.terms import LIPSCHITZ, TERMS, terms_at
from geomlab.stats import Z95, Array

LOOKS = {
    term: Look(color, i) for i, (term, color) in enumerate(zip(TERMS, (BLUE, VERMILLION, GREEN), strict=True))
}
MARGIN = 3.0  # factor that axes show beyond what is swept: ours
# Dimension -> what is defined along it for a cell's own entries, and not for those of other checkpoints.
OWN = {"trained_on": "at", "risk": "trace", "pair": "pair_classes"}
TINY = 1e-300  # where a band that reaches 0 is cut


@dataclass(frozen=True, eq=False)
class Curve:
    """The size of a term over σ; a band that reaches 0 is cut above it.

    Attributes:
        term: of `TERMS`.
        value: (s,) at L_f = 1 and the middle n.
        low: (s,) lower end of the 95 % band; (A) is exact.
        high: (s,) upper end.
        least: (s,) least over what is swept.
        most: (s,) most.
        negative: whether the term is.
        leads: whether it may be the largest at the first σ; a negative one is not.
    """

    term: str
    value: Array
    low: Array
    high: Array
    least: Array
    most: Array
    negative: bool
    leads: bool

    @property
    def sign(self) -> str:
        """Before its size."""
        return "−" if self.negative else ""


def clean(one: xr.Dataset) -> xr.Dataset:
    """One checkpoint's cell without the n, conditions and pairs that only other checkpoints have."""
    for dim, variable in OWN.items():
        one = one.isel({dim: np.flatnonzero(np.isfinite(one[variable].values))})
    return one


def curves(one: xr.Dataset, sigma: Array) -> list[Curve]:
    """The terms that are defined, at some σ.

    Args:
        one: of one checkpoint, `clean`.
        sigma: (s,) not of the grid, necessarily: the terms are powers of σ.
    """
    middle = one.sizes["trained_on"] // 2
    scale = (sigma / float(one["sigma"][0])) ** 2
    near = one["proximity"].transpose("trained_on", "grid").values[:, :1] / scale
    sharp, sharp_error = (float(one[name][0]) * scale for name in ("sharpness", "sharpness_stderr"))
    far, far_error = (
        one[name].values[:, None] * np.ones_like(sigma) for name in ("discrepancy", "discrepancy_stderr")
    )
    at = one["lipschitz"].values.tolist().index(LIPSCHITZ)
    leading = terms_at(one, middle, float(sigma[0])).leading or TERMS
    found = []
    for term, value, error, swept in (
        ("(A)", near[middle], np.zeros_like(sigma), near),
        ("(B)", sharp, sharp_error, sharp[None]),
        ("(C)", far[at], far_error[at], far),
    ):
        if np.isfinite(value).all() and value.any():
            size, sizes = np.abs(value), np.abs(swept)
            low, high = np.maximum(size - Z95 * error, TINY), size + Z95 * error
            least, most = sizes.min(0), sizes.max(0)
            negative = bool(value[0] < 0)
            leads = term in leading and not negative
            found.append(Curve(term, size, low, high, least, most, negative, leads))
    return found


def limits(parts: Sequence[xr.Dataset]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of the axes of σ and of the terms: around the σ that are reported, with all that is swept there."""
    middles = [float(one["sigma"][int(one["at"][one.sizes["trained_on"] // 2])]) for one in parts]
    there = [curve for one, at in zip(parts, middles, strict=True) for curve in curves(one, np.array([at]))]
    low = min((float(curve.least[0]) for curve in there), default=1.0) / MARGIN
    high = max((float(curve.most[0]) for curve in there), default=1.0) * MARGIN
    width = (high / low) ** 0.25 * MARGIN  # (A) and (B) are squares of σ, and cross in the middle
    return (min(middles) / width, max(middles) * width), (low, high)


def remark(one: xr.Dataset) -> str:
    """What a logarithmic axis does not show."""
    said = []
    if float(one["sharpness"][0]) < 0:
        said.append("dotted: −(B), as Tr H < 0")
    far = float(one["discrepancy"].sel(lipschitz=LIPSCHITZ))
    if not np.isfinite(far):
        said.append("(C) is not defined")
    elif far < 0:
        said.append("dotted: −(C), below 0")
    if not float(one["drift"]) > 0:
        said.append("(A) is 0: no drift" if float(one["drift"]) == 0 else "(A) is not defined")
    return "\n".join(said)
