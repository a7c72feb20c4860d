"""Whether a similarity is that of all samples, or of a few far ones."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geomlab.features.similarity import require_samples
from geomlab.typing import Bool, Features, Float, Scalar

Measure = Callable[[Tensor, Tensor], Tensor]


def outlier_shift(
    measure: Measure, x: Features, y: Float[Tensor, "m other"], *, share: float = 0.01
) -> Scalar:
    """How far a similarity moves when the samples of largest norm leave: without them, less with them.

    CKA weighs a sample by the fourth power of its norm, and a few far ones may make it (Davari et al. 2022, arXiv
    2210.16156; two of norm 60 put the debiased CKA of independent Gaussians at 0.73). A shift longer than
    the measure's interval says that it does not speak of most samples. NaN where the measure is, on either set. The
    norm is that of the centred features, so of the measure's invariances it keeps those to orthogonal maps, isotropic
    scaling and translation. Twice the measure's cost.

    Args:
        measure: of x and y.
        x: (n, d) features.
        y: (m, d') features of the same samples, m = n.
        share: of the samples that leave for x, and again for y, rounded up (1 %, ours); both may choose the same.

    Raises:
        ValueError: if the samples differ in number, or the measure has too few without them.
    """
    require_samples(x, y, 1)
    kept = ~(_farthest(x, share) | _farthest(y, share))
    return measure(x[kept], y[kept]) - measure(x, y)


def _farthest(x: Features, share: float) -> Bool[Tensor, "n"]:
    """Which samples are the share farthest from the mean."""
    x = x.double()
    norms = (x - x.mean(0)).norm(dim=1)
    far = torch.zeros_like(norms, dtype=torch.bool)
    far[norms.topk(math.ceil(share * len(x))).indices] = True
    return far
