import pytest
import torch

from geomlab.features import neighbours
from geomlab.features.neighbours import mutual_knn
from tests.features.pairs import independent, pair, rotation


def naive(x: torch.Tensor, y: torch.Tensor, k: int) -> float:
    """By sorting Euclidean distances of features of unit length, one sample at a time."""
    n, shared = len(x), 0
    x, y = (f / f.norm(dim=1, keepdim=True) for f in (x, y))
    for i in range(n):
        near = [
            sorted((j for j in range(n) if j != i), key=lambda j: float((f[i] - f[j]).norm()))[:k]
            for f in (x, y)
        ]
        shared += len({*near[0]} & {*near[1]})
    return shared / (n * k)


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("rows", [7, 1024])
def test_agrees_with_sorting(k: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ROWS", rows)
    x, y = (f - f.mean(0) for f in pair())
    assert float(mutual_knn(x, y, k=k)) == pytest.approx(naive(x, y, k))
    assert 0 < naive(x, y, k) < 1


def test_invariant_to_rotation_and_scale_even_of_each_sample() -> None:
    x, y = (f - f.mean(0) for f in pair())
    turned = torch.linspace(0.01, 7, 40).double()[:, None] * x @ rotation(7)
    assert float(mutual_knn(turned, x)) == 1
    assert float(mutual_knn(turned, y)) == float(mutual_knn(x, y)) == float(mutual_knn(y, x))
    order = torch.randperm(40)
    assert float(mutual_knn(x[order], y[order])) == float(mutual_knn(x, y))
    assert float(mutual_knn(x + 3, y)) != float(mutual_knn(x, y))


@pytest.mark.parametrize(("n", "d"), [(200, 3), (30, 100)])
def test_independent_features_share_what_chance_gives(n: int, d: int) -> None:
    found = torch.stack([mutual_knn(*independent(n, d, seed=i)) for i in range(30)])
    assert abs(float(found.mean()) - 10 / (n - 1)) < 4 * float(found.std()) / 30**0.5


@pytest.mark.parametrize("scale", [1e-100, 1e-30, 1e100])
def test_small_and_large_features_are_features(scale: float) -> None:
    x, y = (f - f.mean(0) for f in pair())
    assert float(mutual_knn(scale * x, y)) == float(mutual_knn(x, y))


def test_an_offset_in_fp32_is_another_place_but_ruins_nothing() -> None:
    """Of few features near a far point, cosines differ in the seventh digit: fp64 tells what fp32 features hold."""
    x, y = ((f + 1000).float() for f in pair())
    assert float(mutual_knn(x, y, k=5)) == pytest.approx(naive(x.double(), y.double(), 5))


def test_samples_without_a_direction_are_left_out() -> None:
    x, y = (f - f.mean(0) for f in pair())
    x[3], y[11] = 0, 0
    left = [i for i in range(40) if i not in (3, 11)]
    assert float(mutual_knn(x, y)) == float(mutual_knn(x[left], y[left]))
    x[:30] = 0
    assert bool(torch.isnan(mutual_knn(x, y)))


def test_a_constant_representation_is_like_none() -> None:
    x, _ = pair()
    constant = torch.full((40, 2), 0.1, dtype=torch.float64)
    assert bool(torch.isnan(mutual_knn(x, constant)))
    assert bool(torch.isnan(mutual_knn(constant, x)))


@pytest.mark.parametrize(("n", "m"), [(11, 11), (14, 15)])
def test_too_few_or_different_samples_are_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="the same n >= 12 samples"):
        mutual_knn(torch.ones(n, 2).double(), torch.ones(m, 2).double())
