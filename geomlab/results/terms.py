"""The bound's terms at one σ, from the cell `bound`: which of them is the largest, and whether that is sure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geomlab.stats import Array, leaders

TERMS = ("(A)", "(B)", "(C)")
LIPSCHITZ = 1.0  # L_f that terms are reported at, of those that are swept: ours


@dataclass(frozen=True, eq=False)
class TermsAt:
    """(A), (B) and (C).

    Attributes:
        n: samples θ was trained on, as known or as swept.
        sigma: σ.
        lipschitz: L_f.
        values: (3,) of the terms.
        stderr: (3,) 0 of (A), which is exact.
    """

    n: int
    sigma: float
    lipschitz: float
    values: Array
    stderr: Array

    @property
    def leading(self) -> tuple[str, ...]:
        """The largest term, with all that it does not lead by more than 1.96 errors; none where one is not defined."""
        if not np.isfinite(self.values).all():
            return ()
        return tuple(term for term, may in zip(TERMS, leaders(self.values, self.stderr), strict=True) if may)


def terms_at(one: xr.Dataset, number: int, sigma: float, lipschitz: float = LIPSCHITZ) -> TermsAt:
    """The terms of one checkpoint at any σ: (A) goes as σ⁻² and (B) as σ², so nothing is interpolated.

    Args:
        one: the cell `bound`.
        number: of the n along `trained_on`.
        sigma: σ.
        lipschitz: of those that were swept.
    """
    near, of_n = one.isel(grid=0), one.isel(trained_on=number)
    scale = (sigma / float(near["sigma"])) ** 2
    far = one.sel(lipschitz=lipschitz)
    values = (
        float(of_n["proximity"].isel(grid=0)) / scale,
        float(near["sharpness"]) * scale,
        float(far["discrepancy"]),
    )
    stderr = (0.0, float(near["sharpness_stderr"]) * scale, float(far["discrepancy_stderr"]))
    return TermsAt(int(of_n["trained_on"]), sigma, lipschitz, np.array(values), np.array(stderr))


def common_sigma(parts: Sequence[xr.Dataset], number: int) -> float:
    """One σ for all checkpoints, as a prior is chosen before they are seen: the geometric mean of what each reports.

    Those for which no σ is best do not count, if there are others.

    Args:
        parts: cells `bound`, one or several.
        number: of the n along `trained_on`; its last where a cell has fewer.
    """
    own, best = [], []
    for one in parts:
        place = min(number, one.sizes["trained_on"] - 1)
        own.append(np.log(float(one["sigma"].values[int(one["at"].values[place])])))
        best.append(bool(np.isfinite(one["sigma_best"].values[place])))
    return float(np.exp(np.mean(own, where=best if any(best) else True)))
