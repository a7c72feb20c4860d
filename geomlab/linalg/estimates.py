"""A number is never bare: value, standard error, status, and what it cost."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from geomlab import stats
from geomlab.typing import Bool, Float

MEASURED = "measured"  # a status: nothing to say against it


@dataclass(frozen=True)
class Estimate:
    """A stochastic estimate.

    Attributes:
        value: the estimate.
        stderr: one standard error; NaN from a single probe.
        samples: (probes,) what was averaged, in fp64, for errors of functions of it.
        products: matrix-vector products spent.
    """

    value: float
    stderr: float
    samples: Float[Tensor, "probes"]
    products: int

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, Student's over probes; NaN from a single one."""
        half = stats.t95(len(self.samples)) * self.stderr
        return self.value - half, self.value + half

    @property
    def status(self) -> str:
        """`measured`, or that it has no error."""
        return of_probes(len(self.samples))


def of_probes(count: int) -> str:
    """The status of a mean over so many probes."""
    return MEASURED if count > 1 else "of a single probe: no error"


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues with the proof of how good they are.

    Attributes:
        values: (k,) in descending order, fp64.
        vectors: (dim, k) orthonormal.
        images: (dim, k) the operator times `vectors`.
        residuals: (k,) ‖Av − λv‖ of those, absolute; an eigenvalue lies within that distance of each value.
        converged: (k,) whether the residual is within the tolerance asked for.
        status: `converged`, or how many pairs are not, or that products ended before hidden ones were looked for.
        products: matrix-vector products spent, what checks them included.
        end: of the spectrum, `top` or `bottom`: beyond the largest or the smallest value there is no other eigenvalue.
    """

    values: Float[Tensor, "k"]
    vectors: Float[Tensor, "dim k"]
    images: Float[Tensor, "dim k"]
    residuals: Float[Tensor, "k"]
    converged: Bool[Tensor, "k"]
    status: str
    products: int
    end: Literal["top", "bottom"] = "top"

    @property
    def bare(self) -> "Eigenpairs":
        """The same without vectors and images, which are large: they are (0, k)."""
        none = self.vectors.new_empty(0, len(self.values))
        return replace(self, vectors=none, images=none)

    @property
    def errors(self) -> Float[Tensor, "k"]:
        """(k,) bounds of |λ − eigenvalue|: the smaller of r and r²/gap (Parlett 1998, 11.7.1), or rounding.

        Products are taken to be right to eps of the largest |λ|. The gap is the distance to the nearest other pair,
        less what that one may be off. Towards the middle the spectrum is not known, so the innermost pair has no gap.
        Both hold as far as no eigenvalue between them was missed.
        """
        rounding = torch.finfo(self.vectors.dtype).eps * float(self.values.abs().max())
        if len(self.values) < 2:
            return self.residuals.clamp(min=rounding)
        between = self.values[:-1] - self.values[1:]
        outermost, innermost = torch.full((1,), torch.inf), torch.zeros(1)
        first, last = (outermost, innermost) if self.end == "top" else (innermost, outermost)
        above = torch.cat([first, between - self.residuals[:-1]])
        below = torch.cat([between - self.residuals[1:], last])
        gap = torch.minimum(above, below)
        bounds = torch.where(gap > self.residuals, self.residuals.square() / gap, self.residuals)
        return bounds.clamp(min=rounding)

    @property
    def relative_residuals(self) -> Float[Tensor, "k"]:
        """(k,) ‖Av − λv‖ / |λ|, and 0 for an exact pair of λ = 0; 1 or more where a converged λ is zero to rounding."""
        return torch.where(self.residuals == 0, 0.0, self.residuals / self.values.abs())
