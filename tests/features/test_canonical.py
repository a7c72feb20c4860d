import math
from collections.abc import Callable

import pytest
import torch

from geomlab.features.canonical import pwcca, svcca
from geomlab.rng import generator
from tests.features.pairs import independent, pair, rotation

BOTH = [svcca, pwcca]


def whitened(x: torch.Tensor) -> torch.Tensor:
    """Uncorrelated features of unit variance, from the inverse root of the covariance."""
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x)
    return x @ vectors @ (values**-0.5).diag() @ vectors.T


def reduced(x: torch.Tensor, directions: int) -> torch.Tensor:
    """Scores on the first principal components."""
    x = x - x.mean(0)
    return x @ torch.linalg.eigh(x.T @ x).eigenvectors[:, -directions:]


def decaying(n: int, d: int, seed: int) -> torch.Tensor:
    """Gaussians of standard deviations 1, 1/2, 1/4, … ."""
    return independent(n, d, seed=seed)[0] * 0.5 ** torch.arange(d, dtype=torch.float64)


def test_svcca_agrees_with_canonical_correlations_of_the_principal_components() -> None:
    x, y = decaying(60, 8, 0), decaying(60, 8, 1)
    y = y + 0.7 * x
    kept = []
    for f in (x, y):
        share = torch.linalg.eigvalsh((f - f.mean(0)).T @ (f - f.mean(0))).flip(0).cumsum(0)
        kept.append(int((share < 0.99 * share[-1]).sum()) + 1)
    assert 2 <= min(kept) <= max(kept) <= 6
    a, b = (whitened(reduced(f, k)) for f, k in zip((x, y), kept, strict=True))
    assert float(svcca(x, y)) == pytest.approx(float(torch.linalg.svdvals(a.T @ b).mean()), rel=1e-10)


@pytest.mark.parametrize(("d", "other"), [(4, 7), (7, 4)])
def test_pwcca_agrees_with_the_whitened_covariance(d: int, other: int) -> None:
    x, y = independent(60, d, other)
    y[:, :4] += x[:, :4]
    a, b = whitened(x), whitened(y)
    u, rho, _ = torch.linalg.svd(a.T @ b, full_matrices=False)
    weights = ((a @ u).T @ (x - x.mean(0))).abs().sum(1)
    assert float(pwcca(x, y)) == pytest.approx(float((weights * rho).sum() / weights.sum()), rel=1e-10)


def test_correlations_known_by_construction() -> None:
    """Orthonormal columns b: x = b₁…b₃, y_i = cos t_i·b_i + sin t_i·b_{i+3}."""
    base = torch.linalg.qr(torch.cat([torch.ones(30, 1).double(), independent(30, 6)[0]], 1)).Q[:, 1:]
    t = torch.tensor([0.1, 0.5, 1.2]).double()
    x, y = base[:, :3], base[:, :3] * t.cos() + base[:, 3:] * t.sin()
    assert float(svcca(x, y)) == pytest.approx(float(t.cos().mean()))
    assert float(pwcca(x, y)) == pytest.approx(float(t.cos().mean()))
    scale = torch.tensor([5.0, 2, 1]).double()  # α_i = Σ_j |⟨b_i, scale_j b_j⟩| = scale_i
    assert float(pwcca(x * scale, y)) == pytest.approx(float((scale * t.cos()).sum() / scale.sum()))
    assert float(pwcca(y, x * scale)) == pytest.approx(float(t.cos().mean()))


@pytest.mark.parametrize("measure", BOTH)
def test_invariant_to_translation_scale_and_permutation(measure: Callable[..., torch.Tensor]) -> None:
    x, y = pair()
    moved = 0.01 * x[:, torch.randperm(7, generator=generator(0, "columns"))] + 3
    assert float(measure(moved, x)) == pytest.approx(1)
    assert float(measure(moved, y)) == pytest.approx(float(measure(x, y)), rel=1e-9)
    assert float(measure(y, moved)) == pytest.approx(float(measure(y, x)), rel=1e-9)
    order = torch.randperm(40, generator=generator(0, "order"))
    assert float(measure(x[order], y[order])) == pytest.approx(float(measure(x, y)))


def test_svcca_is_symmetric_and_invariant_to_rotation() -> None:
    x, y = pair()
    assert float(svcca(x @ rotation(7), y @ rotation(10))) == pytest.approx(float(svcca(x, y)), rel=1e-9)
    assert float(svcca(x, y)) == pytest.approx(float(svcca(y, x)), rel=1e-9)


def test_pwcca_is_invariant_to_invertible_maps_of_the_second_only() -> None:
    x, y = pair()
    mix = torch.randn(10, 10, generator=generator(0, "mix"), dtype=torch.float64)
    assert float(pwcca(x, y @ mix)) == pytest.approx(float(pwcca(x, y)), rel=1e-8)
    assert float(pwcca(x, x @ mix[:7, :7])) == pytest.approx(1)
    assert abs(float(pwcca(x @ rotation(7), y)) - float(pwcca(x, y))) > 1e-4
    assert abs(float(pwcca(y, x)) - float(pwcca(x, y))) > 1e-4


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_that_add_nothing_change_nothing(
    measure: Callable[..., torch.Tensor], dtype: torch.dtype
) -> None:
    """Sums of other columns, and constants: 40 samples would not do for 20 + 27 directions."""
    x, y = pair()
    mix = torch.randn(10, 27, generator=generator(0, "mix"), dtype=torch.float64)
    orthonormal = torch.linalg.qr(mix.T).Q.T  # (10, 27): leaves lengths and angles of y
    wide = torch.cat([y @ orthonormal, torch.full((40, 3), 0.1).double()], 1)
    assert float(measure(x.to(dtype), wide.to(dtype))) == pytest.approx(
        float(measure(x, y)), rel=1e-9 if dtype == torch.float64 else 1e-4
    )
    padded = torch.cat([x, torch.full((40, 13), 0.1).double()], 1)
    assert float(measure(padded.to(dtype), y.to(dtype))) == pytest.approx(
        float(measure(x, y)), rel=1e-9 if dtype == torch.float64 else 1e-4
    )


@pytest.mark.parametrize("measure", BOTH)
def test_an_offset_in_fp32_ruins_nothing(measure: Callable[..., torch.Tensor]) -> None:
    x, y = pair()
    found = measure((x + 1000).float(), (y + 1000).float())
    assert float(found) == pytest.approx(float(measure(x, y)), rel=1e-2)


def test_independent_features_are_as_similar_as_is_said() -> None:
    """The root mean square of ρ is √(max(k, k')/(n − 1)); all variances are alike, so almost all count."""
    found = torch.stack([svcca(*independent(101, 1, 1, seed=i)).square() for i in range(400)])
    assert float(found.mean()) == pytest.approx(1 / 100, rel=0.25)
    mean = torch.stack([svcca(*independent(401, 20, seed=i), variance=1.0) for i in range(10)]).mean()
    assert float(mean) == pytest.approx(
        8 / (3 * math.pi) * (20 / 400) ** 0.5, rel=0.05
    )  # of a quarter circle


@pytest.mark.parametrize("measure", BOTH)
def test_a_constant_representation_is_like_none(measure: Callable[..., torch.Tensor]) -> None:
    x, _ = pair()
    constant = torch.full((40, 2), 0.1, dtype=torch.float64)
    assert bool(torch.isnan(measure(x, constant)))
    assert bool(torch.isnan(measure(constant, x)))


@pytest.mark.parametrize("measure", BOTH)
def test_too_few_or_different_samples_are_refused(measure: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="the same n >= 3 samples"):
        measure(torch.ones(2, 2).double(), torch.ones(2, 2).double())
    x, y = independent(20, 10, 12)
    with pytest.raises(ValueError, match=r"expected n > 2\d samples for \d+ and \d+ directions, got 20"):
        measure(x, y)
