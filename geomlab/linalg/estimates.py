"""A number is never bare: value, standard error, status, and what it cost."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geomlab.typing import Bool, Float


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


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues with the proof of how good they are.

    Attributes:
        values: (k,) in descending order, fp64.
        vectors: (dim, k) orthonormal.
        images: (dim, k) the operator times `vectors`, recomputed on what is returned.
        residuals: (k,) ‖Av − λv‖ of those, absolute; an eigenvalue lies within that distance of each value.
        converged: (k,) whether the residual is within the tolerance asked for.
        status: `converged`, or which pairs are not and why.
        products: matrix-vector products spent, those for `images` included.
    """

    values: Float[Tensor, "k"]
    vectors: Float[Tensor, "dim k"]
    images: Float[Tensor, "dim k"]
    residuals: Float[Tensor, "k"]
    converged: Bool[Tensor, "k"]
    status: str
    products: int

    @property
    def bare(self) -> "Eigenpairs":
        """The same without vectors and images, which are large: they are (0, k)."""
        none = self.vectors.new_empty(0, len(self.values))
        return replace(self, vectors=none, images=none)

    @property
    def relative_residuals(self) -> Float[Tensor, "k"]:
        """(k,) ‖Av − λv‖ / |λ|, and 0 for an exact pair of λ = 0; 1 or more where a converged λ is zero to rounding."""
        return torch.where(self.residuals == 0, 0.0, self.residuals / self.values.abs())
