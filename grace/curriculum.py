"""The curvature curriculum: which layers are perturbed, and by updates of which rank (App. E.1, Eq. 28, 29) [n]."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geomlab.typing import Float, Int


def curvature(gradients: Sequence[Tensor], n: int) -> Float[Tensor, "layers"]:
    """ĥ_W = n · mean(g_W ⊙ g_W) of each layer: the Gauss-Newton diagonal of the cross-entropy [n].

    The mean gradient g of n samples, squared and times n, estimates the mean squared gradient of one sample, up to the
    gradient's own square, which is small near a minimum (Eq. 28).

    Args:
        gradients: of the mean loss over a mini-batch, in each layer's weight.
        n: samples in the mini-batch.

    Returns:
        (layers,) float64.
    """
    return torch.stack([n * gradient.detach().double().square().mean() for gradient in gradients])


def smoothed(
    before: Float[Tensor, "layers"] | None, now: Float[Tensor, "layers"], decay: float
) -> Float[Tensor, "layers"]:
    """h_W ← β h_W + (1 − β) ĥ_W (Eq. 29) [n]; the first value is taken as it is [O].

    Args:
        before: (layers,) None at the first update.
        now: (layers,) as `curvature` gives it.
        decay: β.
    """
    return now if before is None else decay * before + (1 - decay) * now


def ranks(curvatures: Float[Tensor, "layers"], max_rank: int, percentile: float) -> Int[Tensor, "layers"]:
    """The rank of each layer's perturbation [n].

    Layers at or above the percentile get the largest rank, those at or below its mirror image (100 − percentile) none,
    those between an intermediate one, half the largest [O]. A layer that is both gets the largest: where all are equal
    none is spared.

    Args:
        curvatures: (layers,).
        max_rank: the largest.
        percentile: from 50 to 100; 80 [n].
    """
    high = torch.quantile(curvatures, percentile / 100)
    low = torch.quantile(curvatures, (100 - percentile) / 100)  # 1 − 0.8 is less than 0.2
    middle = torch.full(curvatures.shape, max(1, max_rank // 2), device=curvatures.device)
    middle[curvatures <= low] = 0
    middle[curvatures >= high] = max_rank
    return middle


def interval(steps: int, longest: int = 1000) -> int:
    """Steps from one update of the ranks to the next: 1,000 [n], or a twentieth of a shorter run [O].

    Args:
        steps: of the whole run.
        longest: never more than this.
    """
    return max(1, min(longest, steps // 20))
