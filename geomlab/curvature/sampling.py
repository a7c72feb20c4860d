"""How sure eigenvalues are over data: another draw of the samples is another matrix.

Two answers. The jackknife: groups of samples are left out in turn, and the eigenvalues of what is left are those of its
matrix on the span of the eigenvectors at hand, so that all of it costs k products. And with n: the largest eigenvalue
and the top eigenspace of disjoint parts of the data, each a matrix of its own. Smaller parts have larger eigenvalues,
as the maximum of a noisy matrix is above that of its mean: where λmax still falls from half of the data to all, it is
not yet that of the population.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geomlab import stats
from geomlab.data.batches import Batches
from geomlab.linalg import rows
from geomlab.linalg.operator import Operator
from geomlab.stats import Array
from geomlab.typing import Float

GROUPS = 20  # of the jackknife, as in `stats.jackknife`
Build = Callable[[Batches], Operator]  # the operator of the mean loss over some samples


@dataclass(frozen=True, eq=False)
class Resampled:
    """Eigenvalues over samples.

    Attributes:
        stderr: (k,) standard errors over samples, by the delete-a-group jackknife.
        groups: number of groups.
        products: matrix-vector products spent, in products over all samples.
    """

    stderr: Array
    groups: int
    products: float

    @property
    def half_width(self) -> Array:
        """(k,) half of the 95 % intervals."""
        return stats.t95(self.groups) * self.stderr


def jackknife(
    build: Build, batches: Batches, vectors: Float[Tensor, "dim k"], generator: torch.Generator
) -> Resampled:
    """Standard errors of the eigenvalues over samples (delete-a-group jackknife, Kott 2001).

    The matrix without a group is taken on the span of `vectors`: an eigenvalue is stationary in its eigenvector, so
    what leaves the span counts in second order only. That order holds the eigenvalues' bias, which this does not
    see: see `parts`. Groups are drawn at random. Samples count as independent: where
    they are stratified, the error is an upper bound.

    Args:
        build: the operator of some samples.
        batches: all of them.
        vectors: (dim, k) top eigenvectors of the matrix of all samples, descending.
        generator: of the groups (CPU).

    Returns:
        NaN for fewer than 4 samples.
    """
    n, k = len(batches), vectors.shape[1]
    if n < 4:
        return Resampled(np.full(k, np.nan), 0, 0)
    groups = parts(batches, min(GROUPS, n // 2), generator)
    sizes = torch.tensor([len(part) for part in groups], dtype=torch.float64)
    small = torch.stack([_projected(build(part), vectors) for part in groups]) * sizes[:, None, None]
    whole = small.sum(0)
    left = torch.stack(
        [_values((whole - one) / (n - size)) for one, size in zip(small, sizes, strict=True)]
    ).numpy()
    return Resampled(stats.jackknife_error(left), len(groups), float(k))


def _projected(operator: Operator, vectors: Tensor) -> Float[Tensor, "k k"]:
    found = rows.inner(vectors, operator.matmat(vectors)).cpu()
    return (found + found.T) / 2


def _values(matrix: Tensor) -> Float[Tensor, "k"]:
    values: Tensor = torch.linalg.eigvalsh(matrix)
    return values.flip(0)


def parts(batches: Batches, count: int, generator: torch.Generator) -> list[Batches]:
    """Disjoint random parts of the samples, which together are all of them.

    Args:
        batches: the samples.
        count: of parts, of equal size give or take one; at most one a sample.
        generator: of the choice (CPU).
    """
    order = torch.randperm(len(batches), generator=generator).to(batches.labels.device)
    return [batches.take(rows) for rows in order.tensor_split(count)]
