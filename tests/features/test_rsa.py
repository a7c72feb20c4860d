import pytest
import torch
from scipy import stats
from scipy.spatial.distance import pdist

from geomlab.features.rsa import rsa
from tests.features.pairs import independent, pair, rotation


@pytest.mark.parametrize(("n", "d"), [(4, 3), (40, 7), (15, 60)])
def test_agrees_with_scipy(n: int, d: int) -> None:
    x, y = pair(n, d)
    expected = stats.spearmanr(pdist(x.numpy()), pdist(y.numpy())).statistic
    assert float(rsa(x, y)) == pytest.approx(expected, rel=1e-12)


def test_rounding_breaks_no_ties() -> None:
    """Words of ten bits, turned: few distances are possible, and many pairs have the same."""
    bits = torch.randint(0, 2, (60, 10), generator=torch.Generator().manual_seed(0)).double()
    y = pair(60)[1]
    hamming = (bits[:, None] != bits).sum(2).numpy()
    i, j = torch.triu_indices(60, 60, 1).numpy()
    expected = stats.spearmanr(hamming[i, j], pdist(y.numpy())).statistic
    assert float(rsa(bits @ rotation(10) + 3, y)) == pytest.approx(expected, rel=1e-12)


def test_invariant_to_rotation_translation_and_scale() -> None:
    x, y = pair()
    moved = 0.01 * x @ rotation(7) + 30
    assert float(rsa(moved, x)) == pytest.approx(1)
    assert float(rsa(moved, y)) == pytest.approx(float(rsa(x, y)), rel=1e-9)
    assert float(rsa(y, x)) == pytest.approx(float(rsa(x, y)))
    order = torch.randperm(40)
    assert float(rsa(x[order], y[order])) == pytest.approx(float(rsa(x, y)))


def test_invariant_to_a_monotone_change_of_all_distances() -> None:
    """The roots of Euclidean distances are Euclidean distances too, of points found by classical scaling."""
    x, _ = pair(20)
    centring = torch.eye(20).double() - 1 / 20
    values, vectors = torch.linalg.eigh(-centring @ torch.cdist(x, x) @ centring / 2)
    y = vectors * values.clamp(min=0).sqrt()
    assert pdist(y.numpy()) == pytest.approx(pdist(x.numpy()) ** 0.5)
    assert float(rsa(x, y)) == pytest.approx(1)


@pytest.mark.parametrize(("n", "d"), [(30, 60), (60, 5)])
def test_the_mean_over_independent_features_is_none(n: int, d: int) -> None:
    found = torch.stack([rsa(*independent(n, d, seed=i)) for i in range(40)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / 40**0.5


def test_an_offset_in_fp32_ruins_nothing() -> None:
    x, y = pair()
    assert float(rsa((x + 1000).float(), (y + 1000).float())) == pytest.approx(float(rsa(x, y)), abs=1e-3)


def test_constant_features_and_equal_distances_are_undefined() -> None:
    x, _ = pair()
    assert bool(torch.isnan(rsa(torch.full_like(x, 0.1), x)))
    assert bool(torch.isnan(rsa(x, torch.eye(40).double() @ rotation(40))))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (8, 9)])
def test_too_few_or_different_samples_are_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="the same n >= 4 samples"):
        rsa(torch.ones(n, 2).double(), torch.ones(m, 2).double())
