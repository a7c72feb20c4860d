import math

import pytest
import torch
from torch import Tensor

from benchmarks.side_by_side.bootstrap import bootstrapped, judged, replicates
from benchmarks.side_by_side.draws import PROBLEMS
from geomlab.rng import generator
from geomlab.stats import Z95


def normal(seed: int, n: int) -> Tensor:
    return torch.randn(n, generator=generator(seed, "x"), dtype=torch.float64)


def test_intervals_of_the_mean_of_gaussians_cover_as_often_as_its_normal_one() -> None:
    """Their variance is the sample's with n, not n − 1: P(|t₂₉| < 1.96·√(29/30)) = 0.936."""
    n, draws = 30, 300
    ends: dict[str, list[tuple[float, float]]] = {}
    for seed in range(draws):
        x = normal(seed, n)
        again = replicates(lambda r, x=x: x[r].mean(), (n,), 200, seed)
        for way, both in bootstrapped(float(x.mean()), again).items():
            ends.setdefault(way, []).append(both)
    for several in ends.values():
        found = judged(several, {"truth": 0.0, "elsewhere": 3.0})
        assert abs(found["covers truth"] - 0.936) < 3 * math.sqrt(0.936 * 0.064 / draws)
        assert found["covers elsewhere"] == 0
        assert found["length"] == pytest.approx(2 * Z95 / math.sqrt(n), rel=0.1)


def test_each_sample_is_drawn_by_itself_from_all_of_its_rows() -> None:
    again = replicates(lambda r, q: torch.stack([r.sum(), q.sum()]).sum(), (3, 50), 4000, 0)
    assert again.dtype == torch.float64
    variance = 3 * (9 - 1) / 12 + 50 * (2500 - 1) / 12  # of sums of even draws of 0 … n − 1
    assert float(again.var()) == pytest.approx(variance, rel=0.1)
    assert float(again.mean()) == pytest.approx(3 * 1 + 50 * 24.5, rel=0.01)


def test_the_ends_of_the_three_intervals() -> None:
    found = bootstrapped(50.0, torch.tensor([*range(101), math.nan], dtype=torch.float64) + 10)
    assert found["percentile"] == pytest.approx((12.5, 107.5))
    assert found["basic"] == pytest.approx((-7.5, 87.5))
    half = Z95 * math.sqrt(101 * 102 / 12)
    assert found["normal"] == pytest.approx((50 - half, 50 + half))


def test_an_undefined_interval_covers_nothing() -> None:
    assert judged([(math.nan, math.nan), (-1.0, 1.0)], {"truth": 0.0})["covers truth"] == 0.5


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_librarys_interval_is_of_what_is_drawn_again(name: str) -> None:
    sample = PROBLEMS[name].draw(0, PROBLEMS[name].n)
    low, high = sample.interval()
    assert low < sample.value < high
    assert (low + high) / 2 == pytest.approx(sample.value)


@pytest.mark.parametrize(
    "name", ["linear CKA, related", "uniformity", "effective rank", "participation ratio"]
)
def test_limits_in_closed_form_are_those_of_many_samples(name: str) -> None:
    limit = PROBLEMS[name].limit
    assert limit is not None
    assert limit() == pytest.approx(PROBLEMS[name].draw(0, 4000).value, rel=0.03)


def test_the_limit_of_centroid_cosines_is_that_of_many_samples() -> None:
    limit = PROBLEMS["centroid cosine"].limit
    assert limit is not None
    assert 1 - limit() == pytest.approx(1 - PROBLEMS["centroid cosine"].draw(0, 40000).value, rel=0.03)
