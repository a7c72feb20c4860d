from functools import partial

import numpy as np
import pytest
import torch

from geomlab import stats
from geomlab.features.canonical import pwcca, svcca
from geomlab.features.drift import gram_drift_of_classes
from geomlab.features.intervals import with_interval
from geomlab.features.kernel import rbf_cka
from geomlab.features.neighbours import mutual_knn
from geomlab.features.outliers import Measure, outlier_shift
from geomlab.features.rsa import rsa
from geomlab.features.similarity import angular_distance, cka, gram_drift, procrustes
from tests.features.pairs import independent, pair, related


def coverage(measure: Measure, pairs: list[tuple[torch.Tensor, torch.Tensor]], truth: float) -> float:
    found = [with_interval(measure, *both) for both in pairs]
    return float(np.mean([i.low <= truth <= i.high for i in found]))


OTHERS: dict[str, Measure] = {
    "biased_cka": partial(cka, debias=False),
    "rbf_cka": rbf_cka,
    "gram_drift": gram_drift,
    "procrustes": procrustes,
    "angular_distance": angular_distance,
    "rsa": rsa,
    "svcca": svcca,
    "pwcca": pwcca,
    "mutual_knn": mutual_knn,
    "outlier_shift": partial(outlier_shift, cka),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_intervals_cover_what_the_measure_expects_at_this_number_of_samples(name: str) -> None:
    truth = float(torch.stack([OTHERS[name](*related(100, 1000 + i)) for i in range(1500)]).mean())
    assert 0.90 <= coverage(OTHERS[name], [related(100, i) for i in range(200)], truth) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gram_drift", "procrustes"])
def test_of_independent_features_pairs_of_groups_keep_it_from_being_too_long(name: str) -> None:
    """By the jackknife alone they cover in 99.5 %, with more than twice the variance."""
    draws = [OTHERS[name](*independent(60, 8, seed=1000 + i)) for i in range(600)]
    truth, variance = float(torch.stack(draws).mean()), float(torch.stack(draws).var())
    found = [with_interval(OTHERS[name], *independent(60, 8, seed=i), pairs=True) for i in range(200)]
    assert 0.90 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.99
    alone = [with_interval(OTHERS[name], *independent(60, 8, seed=i)) for i in range(200)]
    assert np.mean([i.stderr**2 for i in alone]) > 2 * variance > np.mean([i.stderr**2 for i in found])


def test_it_is_the_jackknife() -> None:
    x, y = pair()
    found = with_interval(cka, x, y)
    (stderr,) = stats.jackknife(lambda rows: [float(cka(x[rows], y[rows]))], 40)
    assert float(found.value) == float(cka(x, y))
    assert float(found.stderr) == pytest.approx(stderr)
    assert float(found.high - found.value) == pytest.approx(stats.t95(20) * stderr)
    assert float(found.low + found.high) == pytest.approx(2 * float(found.value))


def test_of_many_numbers_at_once() -> None:
    x, y = pair(48)
    labels = torch.arange(48) % 3
    both = torch.cat([x, labels[:, None].double()], 1)

    def drift(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return gram_drift_of_classes(x[:, :-1], y, x[:, -1].long(), 4)

    found = with_interval(drift, both, y)
    assert found.value.shape == found.low.shape == (4,)
    assert found.low.isnan().tolist() == [False, False, False, True]
    (stderr,) = stats.jackknife(
        lambda rows: [float(gram_drift(x[rows][labels[rows] == 1], y[rows][labels[rows] == 1]))], 48
    )
    assert float(found.stderr[1]) == pytest.approx(stderr)


def test_equal_shapes_have_an_interval_of_no_length() -> None:
    x, _ = pair()
    found = with_interval(cka, x, 2 * x + 1)
    assert float(found.low) == float(found.value) == float(found.high) == pytest.approx(1)
    assert float(found.stderr) == 0


def test_what_is_undefined_has_no_interval() -> None:
    x, _ = pair()
    found = with_interval(cka, x, torch.full_like(x, 0.1))
    assert bool(torch.stack([found.value, found.stderr, found.low, found.high]).isnan().all())


def test_too_few_samples_are_refused() -> None:
    x, y = pair(7)
    with pytest.raises(ValueError, match="the same n >= 8 samples in both, got 7 and 7"):
        with_interval(cka, x, y)
