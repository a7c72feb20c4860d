"""CKA of a Gaussian kernel, on n×n matrices: nearness counts instead of direction."""

import torch
from torch import Tensor

from geomlab.features.similarity import alignment, preshape, require_samples
from geomlab.typing import Features, Float, Scalar

Kernel = Float[Tensor, "n n"]


def rbf_cka(
    x: Features, y: Float[Tensor, "m other"], *, bandwidth: float = 1.0, debias: bool = True
) -> Scalar:
    """CKA of the kernels exp(−‖x_i − x_j‖²/2σ²), σ a share of the median distance (Kornblith et al. 2019, sec. 3).

    1 for representations equal up to rotation, translation and scale, to which it is invariant, as the bandwidth
    follows the features; 0 in expectation for independent ones, at any n and d, if debiased. For large bandwidths it is
    the linear CKA (Alvarez 2021, arXiv 2112.09305). NaN if either representation is constant to rounding, if half of
    its pairs are duplicates (median 0), or if the kernel of few samples has no positive debiased norm. O(n²(d + d'))
    time and O(n²) memory.

    Args:
        x: (n, d) features, n >= 4.
        y: (m, d') features of the same samples, m = n.
        bandwidth: σ in medians of the distances between two samples; 1 is the median heuristic.
        debias: the estimate of Song et al. 2012 without the kernels' diagonals; False centres the kernels, in [0, 1].

    Raises:
        ValueError: if n < 4 or the samples differ in number.
    """
    require_samples(x, y, 4)
    k, m = (_gaussian(preshape(f), bandwidth) for f in (x, y))
    hsic = debiased_kernel_hsic if debias else _centred_product
    return alignment(hsic(k, m), hsic(k, k), hsic(m, m))


def debiased_kernel_hsic(k: Kernel, m: Kernel) -> Scalar:
    """[tr K̃M̃ + 1ᵀK̃1·1ᵀM̃1/((n−1)(n−2)) − 2/(n−2)·1ᵀK̃M̃1] / (n(n−3)), the diagonals of K̃ and M̃ being 0.

    Unbiased for the HSIC of any two kernels (Song et al. 2012, eq. 4). O(n²).

    Args:
        k: (n, n) symmetric kernel matrix, n >= 4.
        m: (n, n) of the other representation.
    """
    n = len(k)
    k, m = (a - a.diag().diag() for a in (k, m))
    rows_k, rows_m = k.sum(1), m.sum(1)
    total = (k * m).sum() + rows_k.sum() * rows_m.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (rows_k @ rows_m)) / (n * (n - 3))


def squared_distances(x: Features) -> Kernel:
    """‖x_i − x_j‖² = r_i + r_j − 2⟨x_i, x_j⟩ in a single product; of a preshape it is right to fp64's rounding of r.

    Args:
        x: (n, d) centred, fp64.
    """
    norms = x.square().sum(1)
    distances = (norms[:, None] + norms - 2 * (x @ x.T)).clamp_(min=0)
    return distances.fill_diagonal_(0)


def median_square(distances: Kernel, norm: Scalar) -> Scalar:
    """Median of the squared distances of pairs of samples; NaN where it is rounding, as of duplicates.

    Args:
        distances: (n, n) squared.
        norm: ‖X‖²_F of the centred features.
    """
    rows, columns = torch.triu_indices(len(distances), len(distances), offset=1)
    # Duplicates are at rounding's distance. The mean squared distance is 2/(n − 1) of the norm.
    median: Tensor = distances[rows, columns].median()
    return torch.where(median > 1e-13 / len(distances) * norm, median, torch.nan)


def _gaussian(x: Features, bandwidth: float) -> Kernel:
    distances = squared_distances(x)
    return torch.exp(-distances / (2 * bandwidth**2 * median_square(distances, x.square().sum())))


def _centred_product(k: Kernel, m: Kernel) -> Scalar:
    """tr KHMH, H = 1 − 11ᵀ/n: of one centred kernel with the other, H being a projection."""
    centred = k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
    return (centred * m).sum()
