import pytest
import torch

from geomlab.features.kernel import debiased_kernel_hsic, rbf_cka, squared_distances
from geomlab.features.similarity import cka
from tests.features.pairs import independent, naive_hsic, pair, rotation


def gaussian(x: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """From differences of samples, one pair at a time."""
    distance = torch.stack([(x - row).norm(dim=1) for row in x])
    n = len(x)
    median = sorted(float(distance[i, j]) for i in range(n) for j in range(i))[(n * (n - 1) // 2 - 1) // 2]
    return torch.exp(-(distance**2) / (2 * (bandwidth * median) ** 2))


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
@pytest.mark.parametrize(("n", "d"), [(5, 7), (40, 7), (20, 60)])
def test_agrees_with_the_naive_kernels(n: int, d: int, bandwidth: float) -> None:
    x, y = pair(n, d)
    k, m = gaussian(x, bandwidth), gaussian(y, bandwidth)
    assert float(debiased_kernel_hsic(k, m)) == pytest.approx(float(naive_hsic(k, m)), rel=1e-10, abs=1e-15)
    square = naive_hsic(k, k) * naive_hsic(m, m)
    expected = float(naive_hsic(k, m) / square.sqrt())
    assert float(rbf_cka(x, y, bandwidth=bandwidth)) == pytest.approx(expected, rel=1e-9)
    centring = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = centring @ k @ centring, centring @ m @ centring
    expected = float((k * m).sum() / (k.norm() * m.norm()))
    assert float(rbf_cka(x, y, bandwidth=bandwidth, debias=False)) == pytest.approx(expected, rel=1e-9)


def test_distances_agree_with_differences() -> None:
    x = pair(30, 5)[0]
    x = x - x.mean(0)
    assert torch.allclose(squared_distances(x), torch.cdist(x, x).square(), atol=1e-13)


@pytest.mark.parametrize("debias", [True, False])
def test_invariant_to_rotation_translation_and_scale(debias: bool) -> None:
    x, y = pair()
    moved = 1e-3 * x @ rotation(7) + 10
    assert float(rbf_cka(moved, x, debias=debias)) == pytest.approx(1)
    assert float(rbf_cka(moved, y, debias=debias)) == pytest.approx(
        float(rbf_cka(x, y, debias=debias)), rel=1e-9
    )
    assert float(rbf_cka(y, x)) == pytest.approx(float(rbf_cka(x, y)))
    order = torch.randperm(40)
    assert float(rbf_cka(x[order], y[order])) == pytest.approx(float(rbf_cka(x, y)))


@pytest.mark.parametrize("debias", [True, False])
def test_a_wide_kernel_is_linear(debias: bool) -> None:
    x, y = pair()
    wide = float(rbf_cka(x, y, bandwidth=300.0, debias=debias))
    assert wide == pytest.approx(float(cka(x, y, debias=debias)), abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(64, 512), (300, 5)])
def test_the_mean_over_independent_features_is_none(n: int, d: int) -> None:
    found = torch.stack([rbf_cka(*independent(n, d, seed=i)) for i in range(30)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / 30**0.5


def test_it_sees_what_is_not_linear() -> None:
    """A ring's angle and its double cover have no linear relation."""
    t = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)[:-1, None]
    once, twice = torch.cat([t.cos(), t.sin()], 1), torch.cat([(2 * t).cos(), (2 * t).sin()], 1)
    assert abs(float(cka(once, twice))) < 0.01
    assert float(rbf_cka(once, twice, bandwidth=0.5)) > 0.1


def test_an_offset_in_fp32_ruins_nothing() -> None:
    x, y = pair()
    moved = rbf_cka((x + 1000).float(), (y + 1000).float())
    assert float(moved) == pytest.approx(float(rbf_cka(x, y)), rel=1e-3)


def test_constant_or_duplicate_samples_are_like_none() -> None:
    x, y = pair()
    assert bool(torch.isnan(rbf_cka(torch.full_like(x, 0.1), y)))
    doubled = y.clone()
    doubled[:35] = y[0]  # 595 of 780 pairs
    assert bool(torch.isnan(rbf_cka(x, doubled)))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (8, 9)])
def test_too_few_or_different_samples_are_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="the same n >= 4 samples"):
        rbf_cka(torch.ones(n, 2).double(), torch.ones(m, 2).double())
