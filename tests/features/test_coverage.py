import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import iv
from torch import Tensor

from geomlab import stats
from geomlab.features.classes import centroid_cosine, scatter
from geomlab.features.collapse import collapse
from geomlab.features.dimension import effective_rank, participation_ratio, spectrum, two_nn
from geomlab.features.discrepancy import class_distances
from geomlab.features.intervals import Interval, exponential, halved, jackknifed
from geomlab.features.kernel import rbf_cka
from geomlab.features.kernel_pairs import rbf_cka_of_layers
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.manifold import lid
from geomlab.features.shift import centroid_shifts
from geomlab.features.uniformity import alignment, modality_gap, uniformity
from geomlab.rng import generator
from tests.features.pairs import independent, related, true_cka
from tests.populations import Classes, gaussian_classes

N, DRAWS = 160, 200
HERE = gaussian_classes()
MOVED = torch.zeros(4, 6, dtype=torch.float64)
MOVED[1, 0], MOVED[2, 3] = 1.5, -0.8
THERE = Classes(HERE.means + MOVED, 1.4 * HERE.factors)
TIGHT = Classes(HERE.means, 0.4 * HERE.factors)
LOOSE = Classes(HERE.means, 1.6 * HERE.factors)
LABELS = HERE.labels(N)
ALIKE = torch.full((4,), 0.25, dtype=torch.float64)


def normal(seed: int, name: str, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, name), dtype=torch.float64)


def on_circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def scatter_ratio(seed: int) -> tuple[Interval, float]:
    x = HERE.draw(normal(seed, "x", N, 6))
    arms = HERE.means - HERE.means.mean(0)
    truth = 4 * HERE.covariances.mean(0).trace() / arms.square().sum()
    return jackknifed(lambda r: scatter(x[r], LABELS[r], 4).ratio, N), float(truth)


def nc1(seed: int, classes: Classes) -> tuple[Interval, float]:
    x = classes.draw(normal(seed, "x", N, 6))
    arms = classes.means - classes.means.mean(0)
    truth = (classes.covariances.mean(0) @ torch.linalg.pinv(arms.T @ arms / 4, rtol=1e-10)).trace() / 4
    logarithm = jackknifed(lambda r: collapse(x[r], LABELS[r], 4).nc1.log(), N)
    return exponential(logarithm), float(truth)


def nc1_tight(seed: int) -> tuple[Interval, float]:
    return nc1(seed, TIGHT)


def nc1_loose(seed: int) -> tuple[Interval, float]:
    """Of 1.9, where the interval that is not of the logarithm covers less."""
    return nc1(seed, LOOSE)


def nc2_norms(seed: int) -> tuple[Interval, float]:
    x = HERE.draw(normal(seed, "x", N, 6))
    lengths = (HERE.means - HERE.means.mean(0)).norm(dim=1)
    return (
        jackknifed(lambda r: collapse(x[r], LABELS[r], 4).norms, N),
        float(lengths.std(correction=0) / lengths.mean()),
    )


def nc2_simplex(seed: int) -> tuple[Interval, float]:
    x = HERE.draw(normal(seed, "x", N, 6))
    arms = torch.nn.functional.normalize(HERE.means - HERE.means.mean(0), dim=1)
    cosines = (arms @ arms.T)[torch.triu_indices(4, 4, 1).unbind()]
    return (
        jackknifed(lambda r: collapse(x[r], LABELS[r], 4).simplex, N),
        float((cosines + 1 / 3).abs().mean()),
    )


def nc2_angles(seed: int) -> tuple[Interval, float]:
    x = HERE.draw(normal(seed, "x", N, 6))
    arms = torch.nn.functional.normalize(HERE.means - HERE.means.mean(0), dim=1)
    cosines = (arms @ arms.T)[torch.triu_indices(4, 4, 1).unbind()]
    return (
        jackknifed(lambda r: collapse(x[r], LABELS[r], 4).angles, N),
        float(cosines.std(correction=0)),
    )


def discrepancy(seed: int) -> tuple[Interval, float]:
    x, y = HERE.draw(normal(seed, "x", N, 6)), THERE.draw(normal(seed, "y", N, 6))

    def statistic(r: Tensor, q: Tensor) -> Tensor:
        return class_distances(y[r], LABELS[r], x[q], LABELS[q], 4, paired=False).weighted(ALIKE)

    return jackknifed(statistic, N, N), discrepancy_truth()


def discrepancy_of_pairs(seed: int) -> tuple[Interval, float]:
    noise, other = normal(seed, "x", N, 6), normal(seed, "y", N, 6)
    x, y = HERE.draw(noise), THERE.draw(0.8 * noise + 0.6 * other)

    def statistic(r: Tensor) -> Tensor:
        return class_distances(y[r], LABELS[r], x[r], LABELS[r], 4, paired=True).weighted(ALIKE)

    return jackknifed(statistic, N), discrepancy_truth()


def discrepancy_truth() -> float:
    roots = (THERE.covariances - HERE.covariances).square().sum((1, 2)).sqrt()
    return float(2 * (MOVED.square().sum(1) + roots).mean())


def shift_of_moved_classes(seed: int) -> tuple[Interval, float]:
    x, y = HERE.draw(normal(seed, "x", N, 6)), THERE.draw(normal(seed, "y", N, 6))

    def statistic(r: Tensor, q: Tensor) -> Tensor:
        return centroid_shifts(y[r], LABELS[r], x[q], LABELS[q], 4, paired=False)[1:3].mean()

    truth = (MOVED.norm(dim=1) / HERE.means.norm(dim=1))[1:3].mean()
    return jackknifed(statistic, N, N), float(truth)


def cosine(seed: int) -> tuple[Interval, float]:
    x, y = TIGHT.draw(normal(seed, "x", N, 6)), THERE.draw(normal(seed, "y", N, 6))
    truth = torch.nn.functional.cosine_similarity(TIGHT.means, THERE.means).mean()
    return jackknifed(lambda r, q: centroid_cosine(x[r], LABELS[r], y[q], LABELS[q]), N, N), float(truth)


def ratio_of_participation(seed: int) -> tuple[Interval, float]:
    x = normal(seed, "x", N, 6) @ HERE.factors[0].T
    truth = HERE.covariances[0].trace() ** 2 / HERE.covariances[0].square().sum()
    return jackknifed(lambda r: participation_ratio(x[r]), N), float(truth)


def rank(seed: int) -> tuple[Interval, float]:
    x = normal(seed, "x", N, 6) @ HERE.factors[0].T
    truth = effective_rank(torch.linalg.eigvalsh(HERE.covariances[0]))
    return jackknifed(lambda r: effective_rank(spectrum(x[r])), N), float(truth)


def uniform(seed: int) -> tuple[Interval, float]:
    """Angles N(0, s²), whose differences are N(0, 2s²): E exp(4 cos φ − 4) = e⁻⁴ Σ_k I_k(4) E cos kφ."""
    s = 1.0
    x = on_circle(s * normal(seed, "x", N))
    series = sum((2 - (k == 0)) * float(iv(k, 4)) * math.exp(-((k * s) ** 2)) for k in range(30))
    return jackknifed(lambda r: uniformity(x[r]), N), math.log(series) - 4


def aligned(seed: int) -> tuple[Interval, float]:
    angle = normal(seed, "x", N)
    x, y = on_circle(angle), on_circle(angle + 0.5 * normal(seed, "y", N))
    return jackknifed(lambda r: alignment(x[r], y[r]).mean(), N), 2 - 2 * math.exp(-0.125)


def gap(seed: int) -> tuple[Interval, float]:
    x, y = on_circle(0.6 * normal(seed, "x", N)), on_circle(1 + 0.4 * normal(seed, "y", N // 2))
    truth = math.exp(-0.18) * np.array([1, 0]) - math.exp(-0.08) * np.array([math.cos(1), math.sin(1)])
    return jackknifed(lambda r, q: modality_gap(x[r], y[q]).norm(), N, N // 2), float(np.linalg.norm(truth))


def torus(seed: int, n: int, d: int) -> Tensor:
    """Even, and without an edge."""
    angle = 2 * math.pi * torch.rand(n, d, generator=generator(seed, "x"), dtype=torch.float64)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def ball(seed: int, n: int, d: int) -> Tensor:
    direction = torch.nn.functional.normalize(normal(seed, "x", n, d))
    return direction * torch.rand(n, 1, generator=generator(seed, "r"), dtype=torch.float64) ** (1 / d)


def coverage(measure: Callable[[int], tuple[Interval, float]]) -> float:
    inside = [float(found.low) <= truth <= float(found.high) for found, truth in map(measure, range(DRAWS))]
    return sum(inside) / DRAWS


QUICK = [
    scatter_ratio,
    nc1_tight,
    nc1_loose,
    nc2_norms,
    nc2_simplex,
    nc2_angles,
    cosine,
    ratio_of_participation,
    rank,
    uniform,
    aligned,
    gap,
]
LONG = [
    pytest.param(x, marks=pytest.mark.slow)
    for x in (discrepancy, discrepancy_of_pairs, shift_of_moved_classes)
]


@pytest.mark.parametrize("measure", [*QUICK, *LONG])
def test_intervals_cover_the_truth_as_often_as_they_say(
    measure: Callable[[int], tuple[Interval, float]],
) -> None:
    assert 0.9 <= coverage(measure) <= 0.99


@pytest.mark.parametrize(
    ("of_layers", "n", "d"),
    [
        (cka_of_layers, 32, 100),
        (rbf_cka_of_layers, 32, 100),
        *(
            pytest.param(of_layers, n, d, marks=pytest.mark.slow)
            for of_layers in (cka_of_layers, rbf_cka_of_layers)
            for n, d in ((100, 8), (100, 1), (40, 3), (200, 64))
        ),
    ],
)
def test_intervals_of_the_cka_of_independent_features_cover_none(
    of_layers: Callable[..., Interval], n: int, d: int
) -> None:
    def measure(seed: int) -> tuple[Interval, float]:
        x, y = independent(n, d, seed=seed)
        return of_layers([x], [y]), 0.0

    assert 0.9 <= coverage(measure) <= 0.99


@pytest.mark.parametrize(
    "n", [40, *(pytest.param(n, marks=pytest.mark.slow) for n in (12, 20, 30, 100, 200))]
)
def test_intervals_of_the_cka_of_related_features_cover_it(n: int) -> None:
    def measure(seed: int) -> tuple[Interval, float]:
        x, y = related(n, seed)
        return cka_of_layers([x], [y]), true_cka()

    assert 0.9 <= coverage(measure) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 40, 100])
def test_intervals_of_the_cka_of_gaussian_kernels_cover_what_it_expects(n: int) -> None:
    truth = float(torch.stack([rbf_cka(*related(n, 1000 + i)) for i in range(1000)]).mean())

    def measure(seed: int) -> tuple[Interval, float]:
        x, y = related(n, seed)
        return rbf_cka_of_layers([x], [y]), truth

    assert 0.9 <= coverage(measure) <= 0.99


@pytest.mark.parametrize(
    ("manifold", "n", "d"),
    [
        (torus, 160, 2),
        (ball, 100, 10),
        *(
            pytest.param(manifold, n, d, marks=pytest.mark.slow)
            for manifold, n, d in ((torus, 160, 5), (torus, 400, 3), (ball, 160, 2), (ball, 160, 5))
        ),
    ],
)
def test_intervals_of_two_nn_cover_what_it_expects(
    manifold: Callable[[int, int, int], Tensor], n: int, d: int
) -> None:
    """At this n: few samples of many dimensions read too few of a ball, too many of a torus, which is curved."""
    truth = np.mean([float(two_nn(manifold(1000 + i, n, d))) for i in range(400)])

    def measure(seed: int) -> tuple[Interval, float]:
        x = manifold(seed, n, d)
        return halved(lambda r: two_nn(x[r]), n), float(truth)

    assert 0.9 <= coverage(measure) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("manifold", "d"), [(torus, 3), (ball, 5)])
def test_intervals_of_the_mean_lid_cover_what_it_expects(
    manifold: Callable[[int, int, int], Tensor], d: int
) -> None:
    n, k = 300, 20
    truth = np.mean([float(lid(manifold(1000 + i, n, d), k).mean()) for i in range(400)])

    def measure(seed: int) -> tuple[Interval, float]:
        x = manifold(seed, n, d)
        return halved(lambda r: lid(x[r], k).mean(), n), float(truth)

    assert 0.9 <= coverage(measure) <= 0.99


def test_the_interval_of_a_mean_is_the_jackknifes() -> None:
    x, y = normal(0, "x", 50, 2), normal(0, "y", 7, 2)
    found = jackknifed(lambda r, q: x[r].mean(0) - y[q].mean(0), 50, 7)
    first = stats.jackknife(lambda r: x[torch.from_numpy(r)].mean(0).tolist(), 50)
    second = stats.jackknife(lambda r: y[torch.from_numpy(r)].mean(0).tolist(), 7)
    np.testing.assert_allclose(found.stderr, np.hypot(first, second))
    torch.testing.assert_close(found.value, x.mean(0) - y.mean(0))
    torch.testing.assert_close(found.high - found.value, stats.t95(7) * found.stderr)
    torch.testing.assert_close(found.value - found.low, stats.t95(7) * found.stderr)


def test_what_a_group_leaves_undefined_has_no_error() -> None:
    labels = torch.tensor([0] * 20 + [1])
    x = normal(0, "x", 21, 2)

    def statistic(r: Tensor) -> Tensor:
        return torch.stack([x[r][labels[r] == c].mean() for c in range(2)])

    found = jackknifed(statistic, 21)
    assert found.stderr.isnan().tolist() == found.low.isnan().tolist() == [False, True]
    assert bool(found.value.isfinite().all())
    with pytest.raises(ValueError, match="n >= 2 samples for an interval, got 1"):
        jackknifed(lambda r, q: x[r].mean(), 21, 1)


def test_the_error_from_halves_is_that_of_a_mean() -> None:
    x = normal(0, "x", 101, 3)
    found = halved(lambda r: x[r].mean(0), 101, splits=4000)
    np.testing.assert_allclose(found.stderr, x.std(0) / math.sqrt(101), rtol=0.04)
    torch.testing.assert_close(found.value, x.mean(0))
    torch.testing.assert_close(found.high - found.value, stats.t95(4001) * found.stderr)
    with pytest.raises(ValueError, match="n >= 4 samples for an interval from halves, got 3"):
        halved(lambda r: x[r].mean(0), 3)


def test_the_interval_of_a_positive_number_is_that_of_its_logarithm() -> None:
    x = normal(0, "x", 60, 2)
    logarithm = jackknifed(lambda r: x[r].mean(0), 60)
    found = exponential(logarithm, torch.tensor([True, False]))
    for name in ("value", "low", "high"):
        of_log, ours = getattr(logarithm, name), getattr(found, name)
        assert ours.tolist() == pytest.approx([math.exp(of_log[0]), float(of_log[1])])
    assert float(found.stderr[1]) == float(logarithm.stderr[1])
    half = stats.t95(20) * float(found.stderr[0] / found.value[0])
    assert float(found.high[0]) == pytest.approx(float(found.value[0]) * math.exp(half))
    assert float(exponential(logarithm).low[1]) == pytest.approx(math.exp(float(logarithm.low[1])))
