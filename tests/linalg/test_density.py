import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import norm

from geomlab.linalg.density import SpectralDensity, spectral_density
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense
from geomlab.linalg.random import signs
from geomlab.rng import generator

N = 300


def spectrum() -> torch.Tensor:
    """As of a trained network: a few eigenvalues stand out of a bulk, most of it near zero."""
    rng = np.random.default_rng(0)
    outliers, tail, bulk = [50.0, 30, 20, 12, 8], np.abs(rng.normal(0, 1, 95)), rng.normal(0, 0.1, 200)
    return torch.from_numpy(np.sort(np.concatenate([outliers, tail, bulk]))[::-1].copy())


def rotated(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A dense matrix of that spectrum, and its eigenvectors."""
    n = len(values)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator(0, "basis"), dtype=torch.float64))
    a = q @ torch.diag(values) @ q.T
    return (a + a.T) / 2, q


def smoothed(grid: np.ndarray, width: float) -> np.ndarray:
    return ndtr((grid[:, None] - spectrum().numpy()) / width).mean(1)


@pytest.mark.parametrize(
    ("k", "probes", "steps", "seeds"),
    [
        (5, 2, 10, 20),  # as the smallest budget has
        *(
            pytest.param(*case, 200, marks=pytest.mark.slow)
            for case in ((5, 2, 10), (5, 4, 25), (5, 10, 30), (0, 10, 30))
        ),
    ],
)
def test_the_intervals_of_density_and_cdf_cover_the_truth(
    k: int, probes: int, steps: int, seeds: int
) -> None:
    """Of 100, 90 to 99 where 95 are promised, over 200 seeds and all points, and 80 at any; fewer may be over 20."""
    a, q = rotated(spectrum())
    known = {"values": spectrum()[:k], "vectors": q[:, :k]} if k else {}
    grid, covered = np.linspace(-0.3, 4, 25), []
    for seed in range(seeds):
        found = spectral_density(Dense(a), generator(seed, "p"), probes=probes, steps=steps, **known)
        width = found.resolution if k else 1.0
        peaks = norm.pdf((grid[:, None] - spectrum().numpy()) / width).mean(1) / width
        truths, bands = (
            (smoothed(grid, width), peaks),
            (f(grid, width=width) for f in (found.cdf, found.density)),
        )
        covered.append(
            [
                (b.low - 1e-12 <= truth) & (truth <= b.high + 1e-12)
                for b, truth in zip(bands, truths, strict=True)
            ]
        )
    shares = np.mean(covered, axis=0)
    for share in shares:
        assert (0.90 if seeds == 200 else 0.85) <= share.mean() <= 0.99
        assert seeds < 200 or share.min() >= 0.80


def test_known_eigenpairs_stand_where_they_are_and_lower_the_error() -> None:
    a, _ = rotated(spectrum())
    top, _ = eigenpairs(Dense(a), 5, generator(0, "start"), tolerance=1e-6)
    plain = spectral_density(Dense(a), generator(1, "p"), steps=25)
    deflated = spectral_density(Dense(a), generator(1, "p"), steps=25, values=top.values, vectors=top.vectors)
    assert deflated.known.tolist() == pytest.approx([50, 30, 20, 12, 8], rel=1e-6)
    above = deflated.cdf(np.array([5.0, 25.0, 60.0]), width=0.01)
    assert above.value.tolist() == pytest.approx([295 / 300, 298 / 300, 1], abs=1e-9)
    assert (above.high - above.low).max() < 1 / N  # less than an eigenvalue
    assert (plain.cdf(np.array([10.0, 25.0]), width=0.01).high < 1).any()
    assert deflated.resolution < plain.resolution / 10
    assert deflated.products == plain.products == 250


def test_the_density_integrates_to_one_and_has_the_cdf_s_slope() -> None:
    a, _ = rotated(spectrum())
    found = spectral_density(Dense(a), generator(0, "p"))
    low, high = found.range
    assert (low, high) == pytest.approx((float(spectrum()[-1]), 50), abs=0.1)
    width = 2 * found.resolution
    grid = np.linspace(low - 6 * width, high + 6 * width, 4001)
    band, step = found.density(grid, width=width), grid[1] - grid[0]
    assert band.value.sum() * step == pytest.approx(1, abs=1e-6)
    rise = np.diff(found.cdf(grid, width=width).value) / step
    assert rise == pytest.approx((band.value[1:] + band.value[:-1]) / 2, abs=1e-4)
    assert (band.low >= 0).all()
    assert (band.low <= band.value).all()
    assert (band.value <= band.high).all()


def test_the_quadrature_is_exact_for_the_moments_of_a_probe() -> None:
    a, _ = rotated(spectrum())
    found = spectral_density(Dense(a), generator(3, "p"), probes=1, steps=6)
    z = signs(Dense(a), generator(3, "p"))
    power = z
    for degree in range(12):  # below twice the steps
        moment = float((found.weights[0] * found.nodes[0] ** degree).sum())
        assert moment == pytest.approx(float(z @ power) / N, rel=1e-9)
        power = a @ power
    band = found.cdf(np.zeros(1), width=1.0)
    assert 0 <= band.low < band.value < band.high <= 1  # what a single probe may be off is known


def test_the_semicircle() -> None:
    n = 600
    x = torch.randn(n, n, generator=generator(3, "wigner"), dtype=torch.float64)
    found = spectral_density(Dense((x + x.T) / (2 * n) ** 0.5), generator(0, "p"), probes=20, steps=40)
    grid = np.linspace(-1.5, 1.5, 13)
    truth = np.sqrt(4 - grid**2) / (2 * np.pi)
    # A normal of width 0.15 weighs as 0.53 of the axis: 66 eigenvalues at the ends. √(2/(66·20)) is 4 % of one standard
    # error, and smoothing a semicircle takes 1.5 % there.
    assert found.density(grid, width=0.15).value == pytest.approx(truth, rel=3 * 0.04 + 0.015)


def test_the_edges_of_marchenko_and_pastur() -> None:
    n, d = 2000, 400
    x = torch.randn(n, d, generator=generator(4, "wishart"), dtype=torch.float64)
    found = spectral_density(Dense(x.T @ x / n), generator(0, "p"), probes=5, steps=40)
    edges = [(1 - (d / n) ** 0.5) ** 2, (1 + (d / n) ** 0.5) ** 2]
    assert list(found.range) == pytest.approx(edges, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_distinct_eigenvalues_exhaust_the_space(dtype: torch.dtype) -> None:
    values = torch.tensor([3.0] * 20 + [1.0] * 20).double()
    a, _ = rotated(values)
    found = spectral_density(Dense(a.to(dtype)), generator(0, "p"), probes=4, steps=9)
    assert found.nodes.shape == (4, 9)
    heavy = found.weights > 1e-6
    assert np.abs(np.sort(found.nodes[heavy]) - np.repeat([1.0, 3.0], 4)).max() < 1e-5
    assert found.weights.sum(1) == pytest.approx(np.ones(4))
    cdf = found.cdf(np.array([0.0, 2.0, 4.0]), width=0.01)
    assert cdf.value[[0, 2]].tolist() == pytest.approx([0, 1])
    assert cdf.low[1] <= 0.5 <= cdf.high[1]


def test_the_same_seed_gives_the_same_nodes() -> None:
    a, _ = rotated(spectrum())
    one, other = (spectral_density(Dense(a), generator(7, "p"), probes=2) for _ in range(2))
    assert np.array_equal(one.nodes, other.nodes)
    assert isinstance(one, SpectralDensity)


def test_steps_beyond_what_is_left_are_not_taken() -> None:
    a, q = rotated(torch.arange(1.0, 9.0).double())
    found = spectral_density(
        Dense(a), generator(0, "p"), probes=1, values=torch.arange(1.0, 7.0), vectors=q[:, :6]
    )
    assert sorted(found.nodes[0]) == pytest.approx([7, 8])
    assert found.products == 2


@pytest.mark.parametrize(
    "arguments", [{"probes": 0}, {"steps": 0}, {"values": torch.ones(1)}, {"vectors": torch.eye(8).double()}]
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="probes >= 1, steps >= 1, and a value for each"):
        spectral_density(Dense(torch.eye(8).double()), generator(0, "p"), **arguments)  # type: ignore[arg-type]


def test_traces_of_functions_and_what_steps_leave_open() -> None:
    a, q = rotated(spectrum())
    known = {"values": spectrum()[:5], "vectors": q[:, :5]}
    found = spectral_density(Dense(a), generator(0, "p"), probes=20, steps=30, **known)
    for function in (np.abs, np.exp, lambda x: x**3):
        fine, coarse = found.functional(function)
        truth = float(function(spectrum().numpy()).sum())
        error = np.hypot(fine.std(ddof=1) / 20**0.5, fine.mean() - coarse.mean())
        assert abs(fine.mean() - truth) < 3.5 * error + 1e-12 * truth
    fine, coarse = found.functional(lambda x: x**2)  # exact from two steps on
    assert coarse == pytest.approx(fine)
