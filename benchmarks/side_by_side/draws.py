"""Samples of populations whose geometry is known, and a measure of each with the library's interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from scipy.special import iv
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from geomlab import stats
from geomlab.features.canonical import svcca
from geomlab.features.classes import centroid_cosine
from geomlab.features.dimension import effective_rank, participation_ratio, spectrum, two_nn
from geomlab.features.intervals import Interval, halved, jackknifed, with_interval
from geomlab.features.kernel import rbf_cka
from geomlab.features.kernel_pairs import rbf_cka_of_layers
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.manifold import gram_volume, lid
from geomlab.features.neighbours import mutual_knn
from geomlab.features.outliers import Measure
from geomlab.features.rsa import rsa
from geomlab.features.similarity import angular_distance, cka, gram_drift, procrustes
from geomlab.features.uniformity import uniformity
from geomlab.rng import generator

from .bootstrap import Ends

Make = Callable[[int, int], tuple[Tensor, Tensor]]
LARGE, FEW = 4000, 8  # samples and draws from which a limit is taken that has no closed form
K = 20  # neighbours of LID
SCALES = torch.linspace(0.5, 2, 6, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Sample:
    """One draw.

    Attributes:
        statistic: the measure of the rows that are kept of each independent sample.
        sizes: how many each has.
        interval: the ends of the library's.
    """

    statistic: Callable[..., Tensor]
    sizes: tuple[int, ...]
    interval: Callable[[], Ends]

    @property
    def value(self) -> float:
        return float(self.statistic(*map(torch.arange, self.sizes)))


@dataclass(frozen=True, eq=False)
class Problem:
    """A measure of samples of a population.

    Attributes:
        n: samples.
        draw: of a seed and a number of samples.
        limit: what the measure is of infinitely many samples; None where there is no such number.
    """

    n: int
    draw: Callable[[int, int], Sample]
    limit: Callable[[], float] | None = None


def normal(seed: int, name: str, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, "draws", name), dtype=torch.float64)


MAP = normal(0, "map", 6, 8)
NOISE = 3.0  # of y
CENTRES = 1 + normal(0, "centres", 4, 6)
MOVED = CENTRES + 0.5 * normal(0, "moved", 4, 6)


def related(seed: int, n: int) -> tuple[Tensor, Tensor]:
    """Gaussians of unequal scales, and a linear map of them with noise."""
    x = normal(seed, "x", n, 6) * SCALES
    return x, x @ MAP + NOISE * normal(seed, "y", n, 8)


def independent(seed: int, n: int) -> tuple[Tensor, Tensor]:
    return normal(seed, "x", n, 100), normal(seed, "y", n, 100)


def torus(seed: int, n: int, d: int) -> Tensor:
    """Even, and without an edge."""
    angle = 2 * math.pi * torch.rand(n, d, generator=generator(seed, "torus"), dtype=torch.float64)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def ball(seed: int, n: int, d: int) -> Tensor:
    radius = torch.rand(n, 1, generator=generator(seed, "ball"), dtype=torch.float64) ** (1 / d)
    return normalize(normal(seed, "x", n, d)) * radius


def ends(found: Interval) -> Ends:
    return float(found.low), float(found.high)


def of_pairs(
    measure: Measure, make: Make, of_layers: Callable[..., Interval] | None = None
) -> Callable[..., Sample]:
    """Of two sides of the same samples; with pairs of groups where the library leaves them out."""

    def draw(seed: int, n: int) -> Sample:
        x, y = make(seed, n)
        own = (lambda: of_layers([x], [y])) if of_layers else (lambda: with_interval(measure, x, y))
        return Sample(lambda r: measure(x[r], y[r]), (n,), lambda: ends(own()))

    return draw


def of_one(
    measure: Callable[[Tensor], Tensor],
    make: Callable[[int, int], Tensor],
    by: Callable[[Callable[[Tensor], Tensor], int], Interval] = jackknifed,
) -> Callable[..., Sample]:
    def draw(seed: int, n: int) -> Sample:
        x = make(seed, n)

        def statistic(rows: Tensor) -> Tensor:
            return measure(x[rows])

        return Sample(statistic, (n,), lambda: ends(by(statistic, n)))

    return draw


def mean_lid(make: Callable[[int, int], Tensor]) -> Callable[..., Sample]:
    """Its error is the larger of that from halves and that of a mean (`geomlab.measure.features.nearest`)."""

    def draw(seed: int, n: int) -> Sample:
        x = make(seed, n)

        def statistic(rows: Tensor) -> Tensor:
            return lid(x[rows], K).nanmean()

        return Sample(statistic, (n,), lambda: wider(ends(halved(statistic, n)), of_mean(lid(x, K))))

    return draw


def of_mean(values: Tensor) -> Ends:
    """As of every mean over samples (`geomlab.measure.features.layer`), in the figures' number of errors."""
    mean, error = stats.mean_of_defined(values)
    half = stats.t95(stats.GROUPS) * error
    return mean - half, mean + half


def wider(one: Ends, other: Ends) -> Ends:
    return max(one, other, key=lambda both: both[1] - both[0])


def mean_volume(seed: int, n: int) -> Sample:
    """Of features, and two views of them that are moved."""
    x = 1 + normal(seed, "x", n, 6)
    values = gram_volume(x, x + 0.5 * normal(seed, "y", n, 6), x + 0.3 * normal(seed, "z", n, 6))
    return Sample(lambda r: values[r].mean(), (n,), lambda: of_mean(values))


def cosine(seed: int, n: int) -> Sample:
    """Of the centroids of classes in two samples."""
    labels = torch.arange(n) % len(CENTRES)
    x, y = CENTRES[labels] + normal(seed, "x", n, 6), MOVED[labels] + normal(seed, "y", n, 6)

    def statistic(r: Tensor, q: Tensor) -> Tensor:
        return centroid_cosine(x[r], labels[r], y[q], labels[q])

    return Sample(statistic, (n, n), lambda: ends(jackknifed(statistic, n, n)))


def scaled(seed: int, n: int) -> Tensor:
    return normal(seed, "x", n, 6) * SCALES


def arc(seed: int, n: int) -> Tensor:
    """On the circle, at normal angles."""
    angle = normal(seed, "x", n)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def cka_of_related() -> float:
    """‖Σ_xy‖²_F / (‖Σ_xx‖_F ‖Σ_yy‖_F)."""
    xx = SCALES.square().diag()
    yy = MAP.T @ xx @ MAP + NOISE**2 * torch.eye(8, dtype=torch.float64)
    return float((xx @ MAP).square().sum() / (xx.norm() * yy.norm()))


def uniformity_of_arc() -> float:
    """Angles differ by N(0, 2): E exp(4 cos φ − 4) = e⁻⁴ Σ_k I_k(4) E cos kφ."""
    return math.log(sum((2 - (k == 0)) * float(iv(k, 4)) * math.exp(-(k**2)) for k in range(30))) - 4


def of_many(draw: Callable[[int, int], Sample]) -> Callable[[], float]:
    return lambda: sum(draw(-1 - i, LARGE).value for i in range(FEW)) / FEW


def at_100(measure: Measure) -> Problem:
    draw = of_pairs(measure, related)
    return Problem(100, draw, of_many(draw))


LAMBDA = SCALES.square()
PROBLEMS = {
    "linear CKA, related": Problem(40, of_pairs(cka, related, cka_of_layers), cka_of_related),
    "linear CKA, independent": Problem(32, of_pairs(cka, independent, cka_of_layers), lambda: 0.0),
    "RBF CKA, independent": Problem(32, of_pairs(rbf_cka, independent, rbf_cka_of_layers), lambda: 0.0),
    "Gram drift": at_100(gram_drift),
    "Procrustes": at_100(procrustes),
    "angular distance": at_100(angular_distance),
    "RSA": at_100(rsa),
    "RSA, independent": Problem(100, of_pairs(rsa, independent), lambda: 0.0),
    "SVCCA": at_100(svcca),
    "mutual k-NN": Problem(100, of_pairs(partial(mutual_knn, k=10), related)),
    "TwoNN, torus of 2": Problem(160, of_one(two_nn, partial(torus, d=2), halved), lambda: 2.0),
    "TwoNN, ball of 10": Problem(100, of_one(two_nn, partial(ball, d=10), halved), lambda: 10.0),
    "mean LID, torus of 3": Problem(300, mean_lid(partial(torus, d=3))),
    "mean LID, ball of 5": Problem(300, mean_lid(partial(ball, d=5))),
    "uniformity": Problem(160, of_one(uniformity, arc), uniformity_of_arc),
    "effective rank": Problem(
        160, of_one(lambda x: effective_rank(spectrum(x)), scaled), lambda: float(effective_rank(LAMBDA))
    ),
    "participation ratio": Problem(
        160, of_one(participation_ratio, scaled), lambda: float(LAMBDA.sum() ** 2 / LAMBDA.square().sum())
    ),
    "centroid cosine": Problem(160, cosine, lambda: float(cosine_similarity(CENTRES, MOVED).mean())),
    "mean Gram volume": Problem(160, mean_volume),
}
