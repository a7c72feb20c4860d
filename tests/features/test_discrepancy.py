import itertools

import pytest
import torch

from geomlab.features.discrepancy import (
    Distances,
    class_distances,
    covariance_distance,
    mean_distances,
    shared_priors,
    squared_norms,
)
from geomlab.features.shift import centroid_shifts, sample_shifts, shift_ratio
from geomlab.features.similarity import debiased_hsic
from geomlab.rng import generator
from tests.populations import Classes, gaussian_classes, rotation


def pair(n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of the same samples."""
    x, noise = torch.randn(2, n, d, generator=generator(0, "pair", n, d), dtype=torch.float64)
    return x + 2, 0.8 * x.flip(1) + 0.5 * noise - 1


@pytest.mark.parametrize(("n", "d"), [(5, 2), (6, 9)])
def test_products_of_covariances_agree_with_their_definition(n: int, d: int) -> None:
    """The mean of ¼⟨x_i − x_j, y_k − y_l⟩² over distinct indices, of which each term is unbiased."""
    x, y = pair(n, d)

    def naive(a: torch.Tensor, b: torch.Tensor) -> float:
        terms = [
            float((a[i] - a[j]) @ (b[k] - b[m])) ** 2 / 4
            for i, j, k, m in itertools.permutations(range(n), 4)
        ]
        return sum(terms) / len(terms)

    paired = naive(x, x) + naive(y, y) - 2 * naive(x, y)
    assert float(covariance_distance(x, y, paired=True)) == pytest.approx(paired)
    cross = float((torch.cov(x.T) * torch.cov(y[1:].T)).sum())
    z = y[1:] - y[1:].mean(0)
    own = naive(x, x) + float(debiased_hsic(z, z))
    assert float(covariance_distance(x, y[1:], paired=False)) == pytest.approx(own - 2 * cross)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "d"), [(6, 3), (12, 40)])
def test_the_distance_of_covariances_is_without_bias(n: int, d: int, paired: bool) -> None:
    g = generator(0, "bias", n, d)
    scale = 1 + torch.rand(d, generator=g, dtype=torch.float64)
    found = []
    for _ in range(400):
        x, noise = torch.randn(2, n, d, generator=g, dtype=torch.float64)
        found.append(covariance_distance(x, scale * (x if paired else noise), paired=paired))
    values, truth = torch.stack(found), float((1 - scale**2).square().sum())
    assert abs(float(values.mean()) - truth) < 3.5 * float(values.std()) / 20
    assert float(values.std()) / 20 < 0.5 * truth


@pytest.mark.parametrize("paired", [True, False])
def test_the_distance_of_means_is_without_bias(paired: bool) -> None:
    g = generator(0, "means")
    labels = torch.tensor([0, 0, 0, 1, 1])
    found, norms = [], []
    for _ in range(400):
        x, noise = torch.randn(2, 5, 30, generator=g, dtype=torch.float64)
        y = (1.5 * x if paired else noise) + 0.2
        found.append(mean_distances(y, labels, x, labels, 2, paired=paired))
        norms.append(squared_norms(y, labels, 2))
    for values in (torch.stack(found), torch.stack(norms)):
        error = values.std(0) / 20
        assert bool(((values.mean(0) - 30 * 0.04).abs() < 3.5 * error).all())


def test_a_class_moved_by_a_known_vector_shows_in_that_class_alone() -> None:
    classes = gaussian_classes()
    x, labels = classes.draw(classes.noise(40, "x")), classes.labels(40)
    moved = x.clone()
    moved[labels == 2] += torch.tensor([0, 3.0, 0, 0, 4.0, 0]).double()
    found = class_distances(moved, labels, x, labels, 4, paired=True)
    assert found.mean.tolist() == pytest.approx([0, 0, 25, 0], abs=1e-9)
    assert found.covariance.tolist() == pytest.approx([0] * 4, abs=1e-6)
    shift = centroid_shifts(moved, labels, x, labels, 4, paired=True)
    assert shift.tolist() == pytest.approx(
        [0, 0, 5 / float(squared_norms(x, labels, 4)[2]) ** 0.5, 0], abs=1e-6
    )


@pytest.mark.parametrize("paired", [True, False])
def test_distances_come_near_those_of_the_population(paired: bool) -> None:
    here = gaussian_classes()
    there = Classes(here.means + 0.5, 1.5 * here.factors)
    n = 40_000
    noise = here.noise(n, "here")
    x, y = here.draw(noise), there.draw(noise if paired else here.noise(n, "there"))
    found = class_distances(y, there.labels(n), x, here.labels(n), 4, paired=paired)
    assert found.mean.tolist() == pytest.approx([1.5] * 4, rel=0.1)
    truth = (there.covariances - here.covariances).square().sum((1, 2)).sqrt()
    assert found.covariance.tolist() == pytest.approx(truth.tolist(), rel=0.1)


@pytest.mark.parametrize("paired", [True, False])
def test_invariances(paired: bool) -> None:
    x, y = pair(24, 5)
    labels, q = torch.arange(24) % 3, rotation(5)
    found = class_distances(x, labels, y, labels, 3, paired=paired)
    order = torch.randperm(24, generator=generator(0, "order"))
    moved = class_distances(2 * x @ q + 5, labels, 2 * y @ q + 5, labels, 3, paired=paired)
    shuffled = class_distances(x[order], labels[order], y[order], labels[order], 3, paired=paired)
    swapped = class_distances(y, labels, x, labels, 3, paired=paired)
    for name in ("mean", "covariance"):
        torch.testing.assert_close(getattr(moved, name), 4 * getattr(found, name))
        torch.testing.assert_close(getattr(shuffled, name), getattr(found, name))
        torch.testing.assert_close(getattr(swapped, name), getattr(found, name))


def test_two_draws_of_one_population_do_not_differ() -> None:
    """With ten samples a class in 64 dimensions, moments put into the formula would say about 13 + 29."""
    found = []
    for seed in range(30):
        x, y = torch.randn(2, 80, 64, generator=generator(seed, "same"), dtype=torch.float64)
        labels = torch.arange(80) % 8
        found.append(class_distances(x, labels, y, labels, 8, paired=False))
    for values in (torch.stack([one.mean for one in found]), torch.stack([one.covariance for one in found])):
        assert abs(float(values.mean())) < 4 * float(values.std()) / 240**0.5
        assert bool((values < 0).any())


def test_a_class_of_too_few_samples_is_undefined_and_says_so_in_the_sum() -> None:
    x, y = pair(10, 3)
    labels, others = torch.tensor([0] * 4 + [1] * 4 + [2] * 2), torch.tensor([0] * 6 + [1] * 3 + [2])
    found = class_distances(x, labels, y, others, 4, paired=False)
    assert found.mean.isnan().tolist() == [False, False, True, True]
    assert found.covariance.isnan().tolist() == [False, True, True, True]
    priors = shared_priors(labels, others, 4)
    assert priors.tolist() == [1, 0, 0, 0]
    assert float(found.weighted(priors)) == pytest.approx(2 * float(found.mean[0] + found.covariance[0]))
    assert bool(found.weighted(shared_priors(labels, others, 4, least=3)).isnan())
    with pytest.raises(ValueError, match="n >= 7 samples of some class on both sides"):
        shared_priors(labels, others, 4, least=7)
    with pytest.raises(ValueError, match="n >= 4 samples on both sides, got 3 and 4"):
        covariance_distance(x[:3], y[:4], paired=False)


def test_weights_of_classes() -> None:
    found = Distances(torch.tensor([1.0, 2]).double(), torch.tensor([3.0, 5]).double())
    assert float(found.weighted(torch.tensor([0.25, 0.75]).double())) == pytest.approx(
        2 * (0.25 * 4 + 0.75 * 7)
    )
    for priors in ([0.25, 0.5], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="priors of 0 or more that add up to 1"):
            found.weighted(torch.tensor(priors))
    assert shared_priors(torch.tensor([0, 0, 0, 1]), torch.tensor([1, 0]), 2, least=1).tolist() == [
        0.75,
        0.25,
    ]


def test_pairs_are_of_the_same_labels() -> None:
    x, y = pair(8, 3)
    labels = torch.arange(8) % 2
    with pytest.raises(ValueError, match="paired samples to have the same labels"):
        class_distances(x, labels, y, 1 - labels, 2, paired=True)


def test_shifts_of_samples_and_their_ratio() -> None:
    clean = torch.tensor([[3.0, 4], [0, 0], [0, 2]]).double()
    found = sample_shifts(clean + torch.tensor([0.0, 1]), clean)
    assert found.tolist() == pytest.approx([0.2, torch.nan, 0.5], nan_ok=True)
    weights, inputs = torch.tensor([1.0, 3, torch.nan]), torch.tensor([4.0, 4, 100])
    assert float(shift_ratio(weights, inputs)) == pytest.approx(0.5)
    assert bool(shift_ratio(weights, -inputs).isnan())
    assert bool(shift_ratio(weights[2:], inputs[2:]).isnan())


def test_shifts_are_relative_and_centroids_at_the_origin_have_none() -> None:
    x, y = pair(24, 5)
    labels, q = torch.arange(24) % 3, rotation(5)
    found = centroid_shifts(x, labels, y, labels, 3, paired=False)
    torch.testing.assert_close(centroid_shifts(7 * x @ q, labels, 7 * y @ q, labels, 3, paired=False), found)
    centred = y - torch.stack([y[labels == c].mean(0) for c in range(3)])[labels]
    assert bool(centroid_shifts(x, labels, centred, labels, 3, paired=False).isnan().all())
