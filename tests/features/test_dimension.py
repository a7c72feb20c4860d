import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from geomlab.features.dimension import effective_rank, participation_ratio, spectrum, two_nn
from geomlab.features.intervals import jackknifed
from geomlab.rng import generator
from tests.populations import rotation


def cube(n: int, d: int) -> torch.Tensor:
    return torch.rand(n, d, generator=generator(0, "cube"), dtype=torch.float64)


def of_spectrum(n: int, variances: list[float], seed: int = 0) -> torch.Tensor:
    """A Gaussian cloud with these variances along turned axes."""
    d = len(variances)
    x = torch.randn(n, d, generator=generator(seed, "spectrum"), dtype=torch.float64)
    return x * torch.tensor(variances, dtype=torch.float64).sqrt() @ rotation(d)


@pytest.mark.parametrize("n", [10, 57, 300])
def test_two_nn_agrees_with_the_fit_of_scikit_learn(n: int) -> None:
    x = cube(n, 3)
    (_, first, second) = NearestNeighbors(n_neighbors=3).fit(x.numpy()).kneighbors()[0].T[[0, 0, 1]]
    kept = int(0.9 * n)
    ratios = np.sort(np.log(second / first))[:kept, None]
    survival = -np.log(1 - np.arange(1, kept + 1) / n)
    line = LinearRegression(fit_intercept=False).fit(ratios, survival)
    assert float(two_nn(x)) == pytest.approx(float(line.coef_[0]), rel=1e-10)


@pytest.mark.parametrize("d", [2, 5])
def test_two_nn_finds_the_dimension_of_a_cube(d: int) -> None:
    x = torch.nn.functional.pad(cube(2000, d), (0, 20 - d)) @ rotation(20)
    found = jackknifed(lambda rows: two_nn(x[rows]), len(x))
    assert abs(float(found.value) - d) < 3 * float(found.stderr)
    assert float(found.stderr) < 0.08 * d


def test_two_nn_invariances_and_equal_samples() -> None:
    x = cube(60, 4)
    found = float(two_nn(x))
    order = torch.randperm(60, generator=generator(0, "order"))
    assert float(two_nn(9 * x[order] @ rotation(4) - 3)) == pytest.approx(found)
    assert float(two_nn(torch.cat([x, x[:30]]))) == pytest.approx(found)


def test_a_grid_has_no_ratios_and_few_samples_no_line() -> None:
    axis = torch.arange(6.0).double()
    assert bool(two_nn(torch.cartesian_prod(axis, axis)).isnan())
    with pytest.raises(ValueError, match="n >= 10 distinct samples, got 9"):
        two_nn(torch.cat([cube(9, 2)] * 3))


@pytest.mark.parametrize(("n", "d"), [(50, 7), (8, 30), (9, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spectrum_agrees_with_scikit_learn(n: int, d: int, dtype: torch.dtype) -> None:
    x = (5 + cube(n, d)).to(dtype)
    found = spectrum(x)
    expected = PCA(svd_solver="full").fit(x.double().numpy()).explained_variance_[: min(n - 1, d)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)


def test_the_spectrum_of_samples_with_a_known_one() -> None:
    corners = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]]).double()
    x = corners @ rotation(3) + 4
    assert spectrum(x).tolist() == pytest.approx([18 / 5, 8 / 5, 2 / 5])
    share = [9 / 14, 4 / 14, 1 / 14]
    entropy = -sum(p * math.log(p) for p in share)
    assert float(effective_rank(spectrum(x))) == pytest.approx(math.exp(entropy))
    assert spectrum(torch.ones(3, 2)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="n >= 2 samples, got 1"):
        spectrum(torch.ones(1, 2))


def test_effective_rank_of_known_spectra() -> None:
    assert float(effective_rank(torch.tensor([2.0, 2, 2, 0]))) == pytest.approx(3)
    assert float(effective_rank(torch.tensor([5.0, 0]))) == pytest.approx(1)
    assert bool(effective_rank(torch.zeros(3)).isnan())


@pytest.mark.parametrize(("n", "variances"), [(6, [1.0] * 20), (30, [4.0, 2, 1, 0.5]), (30, [1.0] * 60)])
def test_participation_ratio_has_no_bias_from_few_samples(n: int, variances: list[float]) -> None:
    """Its inverse is within the order of truth/n that a ratio is off; that of a sample's own spectrum is over 1/n."""
    inverse = 1 / torch.stack([participation_ratio(of_spectrum(n, variances, seed)) for seed in range(400)])
    inverse = inverse.nan_to_num()
    truth = sum(v * v for v in variances) / sum(variances) ** 2
    assert abs(float(inverse.mean()) - truth) < 4 * float(inverse.std()) / 20 + 2 * truth / n


def test_participation_ratio_of_many_samples_is_that_of_their_spectrum() -> None:
    x = of_spectrum(20_000, [4.0, 2, 1, 0.5])
    values = spectrum(x)
    assert float(participation_ratio(x)) == pytest.approx(
        float(values.sum() ** 2 / values.square().sum()), rel=1e-3
    )
    assert float(participation_ratio(x)) == pytest.approx(7.5**2 / 21.25, rel=0.02)
    turned = 1e-6 * x @ rotation(4, seed=1) + 1
    assert float(participation_ratio(turned)) == pytest.approx(float(participation_ratio(x)), rel=1e-6)


def test_what_has_no_participation_ratio() -> None:
    assert bool(participation_ratio(torch.ones(9, 3)).isnan())
    with pytest.raises(ValueError, match="n >= 4 samples, got 3"):
        participation_ratio(cube(3, 2))
