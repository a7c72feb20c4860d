import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomlab.features.similarity import angular_distance, cka, debiased_hsic, gram_drift, procrustes
from geomlab.rng import generator
from geomlab.stats import jackknife
from tests.features.pairs import independent, naive_hsic, pair, rotation


@pytest.mark.parametrize("n", [4, 5, 40, 200])
def test_cka_agrees_with_the_kernel_form(n: int) -> None:
    x, y = pair(n)
    xc, yc = x - x.mean(0), y - y.mean(0)
    k, m = xc @ xc.T, yc @ yc.T
    assert float(debiased_hsic(xc, yc)) == pytest.approx(float(naive_hsic(k, m)), rel=1e-10, abs=1e-12)
    assert float(naive_hsic(x @ x.T, y @ y.T)) == pytest.approx(float(naive_hsic(k, m)), rel=1e-9, abs=1e-9)
    expected = naive_hsic(k, m) / (naive_hsic(k, k) * naive_hsic(m, m)).sqrt()
    if bool(torch.isfinite(expected)):
        assert float(cka(x, y)) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 7), (12, 30)])
def test_cka_that_is_not_debiased_agrees_with_the_centred_kernels(n: int, d: int) -> None:
    x, y = pair(n, d)
    centring = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    expected = (k * m).sum() / (k.norm() * m.norm())
    assert float(cka(x, y, debias=False)) == pytest.approx(float(expected), rel=1e-10)


def test_of_independent_gaussians_only_the_debiased_cka_is_none() -> None:
    x, y = independent(64, 512)
    assert float(cka(x, y, debias=False)) == pytest.approx(512 / (64 + 512), abs=0.01)
    assert abs(float(cka(x, y))) < 0.1


def biased_cka(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return cka(x, y, debias=False)


MEASURES = {
    "cka": (cka, 1.0),
    "biased_cka": (biased_cka, 1.0),
    "gram_drift": (gram_drift, 0.0),
    "procrustes": (procrustes, 0.0),
    "angular_distance": (angular_distance, 0.0),
}


@given(seed=st.integers(0, 50), scale=st.floats(0.1, 10), name=st.sampled_from(sorted(MEASURES)))
@settings(max_examples=25, deadline=None)
def test_invariant_to_rotation_translation_and_scale(seed: int, scale: float, name: str) -> None:
    measure, same = MEASURES[name]
    x, y = pair(seed=seed)
    moved = scale * x @ rotation(7, seed) + 3
    assert float(measure(moved, x)) == pytest.approx(same, abs=1e-6)
    assert float(measure(moved, y)) == pytest.approx(float(measure(x, y)), rel=1e-8)
    order = torch.randperm(len(x), generator=generator(seed, "order"))
    assert float(measure(x[order], y[order])) == pytest.approx(float(measure(x, y)), rel=1e-8)


@pytest.mark.parametrize(("n", "d"), [(64, 512), (500, 20)])
def test_independent_features_have_no_cka_whatever_their_number(n: int, d: int) -> None:
    x, y = independent(n, d)
    (stderr,) = jackknife(lambda rows: [float(cka(x[rows], y[rows]))], n)
    assert abs(float(cka(x, y))) < 4 * stderr
    assert 0 < stderr < 0.1


def test_symmetric_where_it_should_be() -> None:
    x, y = pair()
    assert float(cka(x, y)) == pytest.approx(float(cka(y, x)))
    assert float(procrustes(x, y)) == pytest.approx(float(procrustes(y, x)))
    assert float(angular_distance(x, y)) == pytest.approx(float(angular_distance(y, x)))


@given(seed=st.integers(0, 1000), near=st.floats(0, 1), widths=st.tuples(*[st.integers(1, 12)] * 3))
@settings(max_examples=60, deadline=None)
def test_triangle_inequality(seed: int, near: float, widths: tuple[int, int, int]) -> None:
    a, b, c = (pair(9, d, seed + i)[0] for i, d in enumerate(widths))
    width = min(a.shape[1], b.shape[1])
    b[:, :width] = near * b[:, :width] + (1 - near) * a[:, :width]  # tight where b is between a and c
    for metric in (angular_distance, lambda *both: procrustes(*both).sqrt()):
        assert float(metric(a, c)) <= float(metric(a, b)) + float(metric(b, c)) + 1e-6


def test_angular_distance_of_a_geodesic() -> None:
    """Two uncorrelated features, the share of whose variances turns: cos of the angle between (cos a, sin a)."""
    base = torch.linalg.qr(pair(20, 2)[0] - pair(20, 2)[0].mean(0)).Q
    a, b = (base * torch.tensor([math.cos(t), math.sin(t)]).double() for t in (0.2, 0.9))
    assert float(angular_distance(a, b)) == pytest.approx(0.7)
    assert float(procrustes(a, b)) == pytest.approx(2 - 2 * math.cos(0.7))


def test_gram_drift_agrees_with_the_gram_matrices() -> None:
    x, y = pair()
    k, k0 = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y))
    k, k0 = k / k.trace(), k0 / k0.trace()
    assert float(gram_drift(x, y)) == pytest.approx(float((k - k0).norm() / k0.norm()))


def test_procrustes_agrees_with_the_best_rotation() -> None:
    x, y = pair()
    y = torch.cat([y[:, :7]], dim=1)
    x, y = (z - z.mean(0) for z in (x, y))
    x, y = x / x.norm(), y / y.norm()
    u, _, vt = torch.linalg.svd(y.T @ x)
    assert float(procrustes(x, y)) == pytest.approx(float((x - y @ u @ vt).square().sum()))


@pytest.mark.parametrize("measure", [cka, biased_cka, gram_drift, procrustes, angular_distance])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_constant_representation_is_like_none(measure: Callable[..., torch.Tensor], value: float) -> None:
    x, _ = pair()
    constant = torch.full((len(x), 2), value, dtype=torch.float64)
    assert bool(torch.isnan(measure(x, constant)))
    assert bool(torch.isnan(measure(constant, x)))


ALL = [cka, gram_drift, procrustes, angular_distance]


def nearly_constant(dtype: torch.dtype) -> torch.Tensor:
    """What a network of that precision makes of inputs 1 + 1e-8 noise (1 + 1e-16 noise in fp64)."""
    noise = torch.randn(200, 64, generator=generator(0, "noise"), dtype=torch.float64)
    x = (1 + {torch.float32: 1e-8, torch.float64: 1e-16}[dtype] * noise).to(dtype)
    for layer in range(12):
        weight = torch.randn(64, 64, generator=generator(layer, "layer"), dtype=torch.float64) / 8
        x = torch.tanh(torch.cat([part @ weight.to(dtype) for part in x.split([*range(1, 19), 29])]))
    return x


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_geometry(measure: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    noise = nearly_constant(dtype)
    assert bool((noise != noise[0]).any())
    x = torch.randn(200, 5, generator=generator(0, "x"), dtype=torch.float64).to(dtype)
    for both in ((x, noise), (noise, x), (noise, noise), (1e-12 * noise, x)):
        assert bool(torch.isnan(measure(*both)))


@pytest.mark.parametrize("measure", ALL)
def test_the_same_variation_is_geometry_where_it_was_computed(measure: Callable[..., torch.Tensor]) -> None:
    x, y = pair()
    tiny = 1 + 1e-8 * (x - x.mean(0))
    assert float(measure(tiny, y)) == pytest.approx(float(measure(x, y)), rel=1e-5)
    assert bool(torch.isnan(measure(tiny.float(), y.float())))


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("scale", [1e-12, 1e-30, 1e30])
def test_small_and_large_features_are_features(
    measure: Callable[..., torch.Tensor], dtype: torch.dtype, rel: float, scale: float
) -> None:
    x, y = (z.to(dtype) for z in pair())
    assert float(measure(scale * x, scale * y)) == pytest.approx(float(measure(x, y)), rel=rel)


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("mean", [100, 1000, 10_000])
def test_a_mean_far_from_the_origin_is_no_constant(measure: Callable[..., torch.Tensor], mean: int) -> None:
    x, y = pair()
    assert float(measure((x + mean).float(), (y + mean).float())) == pytest.approx(
        float(measure(x, y)), rel=1e-2
    )


@pytest.mark.parametrize(("n", "m"), [(3, 3), (8, 9)])
def test_too_few_or_different_samples_are_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="the same n >= 4 samples"):
        cka(torch.ones(n, 2).double(), torch.ones(m, 2).double())
    for measure in (gram_drift, procrustes, angular_distance):
        with pytest.raises(ValueError, match="the same n >= 3 samples"):
            measure(torch.ones(n - 1, 2).double(), torch.ones(m - 1, 2).double())


def wide(measure: Callable[..., torch.Tensor], n: int, d: int) -> tuple[float, float]:
    """The value of features with more coordinates than samples, and that after these are turned and cut to n each."""
    x, y = pair(n, d)
    turned = [(u * s) for u, s, _ in (torch.linalg.svd(z - z.mean(0), full_matrices=False) for z in (x, y))]
    return float(measure(x, y)), float(measure(*turned))


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(("n", "d"), [(20, 21), (20, 90)])
def test_wide_features_are_reduced_without_a_change(
    measure: Callable[..., torch.Tensor], n: int, d: int
) -> None:
    found, reduced = wide(measure, n, d)
    assert found == pytest.approx(reduced, rel=1e-12, abs=1e-12)
    x, y = pair(n, d)
    x, y = ((z - z.mean(0)) / (z - z.mean(0)).norm() for z in (x, y))
    if measure is procrustes:
        assert found == pytest.approx(2 - 2 * float(torch.linalg.svdvals(y.T @ x).sum()), rel=1e-12)
    if measure is gram_drift:
        xx, yy, xy = (float((a.T @ b).square().sum()) for a, b in ((x, x), (y, y), (x, y)))
        assert found**2 == pytest.approx((xx + yy - 2 * xy) / yy, rel=1e-11)


@pytest.mark.parametrize("narrow", [3, 30])
def test_procrustes_of_different_widths_is_the_nuclear_norm(narrow: int) -> None:
    x, y = pair(20, 40)[0], pair(20, narrow)[0]
    x, y = ((z - z.mean(0)) / (z - z.mean(0)).norm() for z in (x, y))
    assert float(procrustes(x, y)) == pytest.approx(
        2 - 2 * float(torch.linalg.svdvals(y.T @ x).sum()), rel=1e-12
    )


def test_no_matrix_of_the_width_is_decomposed_where_samples_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    whole = torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda a: (sizes.append(a.shape), whole(a))[1])
    procrustes(*pair(10, 300))
    assert sizes == [(10, 10)]
