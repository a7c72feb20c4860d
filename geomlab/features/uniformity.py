"""Features on the unit sphere: alignment of views, uniformity, and the gap between two modalities. Everything in fp64.

Rows are scaled to unit length, so nothing here depends on their scale. All are invariant to one rotation of everything,
and not to translation. A row of zeros has no direction: what it is part of is NaN.
"""

from torch import Tensor
from torch.nn import functional as F

from geomlab.typing import Features, Float, Scalar, Vector

ALPHA = 2.0  # power of the distance in alignment, and
T = 2.0  # heat kernel's t in uniformity: the defaults of Wang & Isola 2020, and what their figures use
_ROWS = 1024  # rows of the distance matrix at a time


def alignment(features: Features, positives: Features) -> Float[Tensor, "n"]:
    """(n,) ‖f_i − f_i⁺‖^α of each sample and another view of it, α = 2, in [0, 4] (Wang & Isola 2020).

    Their loss is the mean, whose error is over independent samples (`stats.mean_stderr`). 0 where views coincide, 2 in
    expectation for unrelated directions.

    Args:
        features: (n, d).
        positives: (n, d) of the other view, as attacked.
    """
    distance: Tensor = (_unit(features) - _unit(positives)).norm(dim=1)
    return distance.pow(ALPHA)


def uniformity(features: Features) -> Scalar:
    """log of the mean of exp(−t ‖f_i − f_j‖²) over pairs i ≠ j, t = 2 (Wang & Isola 2020, arXiv 2005.10242).

    0 for a single point, and the lower the more even: −4 n/(n − 1) at least, −4 in the limit of many dimensions. At
    O(n²·d), a block at a time.

    Args:
        features: (n, d).

    Raises:
        ValueError: if n < 2.
    """
    n = len(features)
    if n < 2:
        raise ValueError(f"expected n >= 2 samples, got {n}")
    x = _unit(features)
    total = x.new_zeros(())
    for block in x.split(_ROWS):
        total += (-T * (2 - 2 * block @ x.T)).exp().sum()  # ‖f_i − f_j‖² of unit rows
    return ((total - n) / (n * (n - 1))).log()


def modality_gap(images: Features, texts: Float[Tensor, "m dim"]) -> Vector:
    """(d,) mean of the images' unit features less the mean of the texts' (Liang et al. 2022, arXiv 2203.02053).

    Its length, in [0, 2], is their gap, and is too long by the noise of the means where that is not far below it. Gaps
    before and after an attack are compared as vectors: their difference is how the images' mean moved.

    Args:
        images: (n, d).
        texts: (m, d), one a class or one a caption.

    Raises:
        ValueError: if there are no samples on a side.
    """
    if not min(len(images), len(texts)):
        raise ValueError(f"expected n >= 1 samples on both sides, got {len(images)} and {len(texts)}")
    return _unit(images).mean(0) - _unit(texts).mean(0)


def _unit(features: Features) -> Features:
    return F.normalize(features.double(), dim=1, eps=0)  # 0/0 of a row of zeros
