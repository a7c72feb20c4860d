"""Lines and planes whose numbers are known."""

import numpy as np
import pytest

from geomlab.landscape import numbers
from geomlab.landscape.slices import Slice
from geomlab.stats import group_of

X = np.linspace(-2, 2, 401)


def sliced(losses: np.ndarray) -> Slice:
    """Of per-sample losses (points, n)."""
    n = losses.shape[1]
    group = group_of(n)
    sizes = np.bincount(group).astype(float)
    means = np.stack([losses[:, group == g].mean(1) for g in range(len(sizes))], 1)
    unused = np.zeros(len(losses))
    return Slice(losses.mean(1), unused, unused, means, np.zeros_like(means), sizes, losses[:, :0])


def test_a_valley_is_as_wide_as_its_curvature_says() -> None:
    for curvature in (1.0, 4.0):
        width = numbers.width(X, 0.3 + curvature / 2 * X**2, rise=0.1)
        assert width == pytest.approx(2 * (2 * 0.1 / curvature) ** 0.5, rel=1e-3)


def test_a_width_is_of_the_centres_own_basin_and_says_where_the_line_ends() -> None:
    two = np.minimum((X + 1) ** 2, (X - 1) ** 2)  # the centre is on the ridge between two valleys
    assert numbers.width(X, two) == pytest.approx(4)
    assert numbers.goes_on(X, two)
    bowl = 5 * X**2
    assert not numbers.goes_on(X, bowl)
    assert numbers.goes_on(X, np.where(X > 0, 0, bowl))
    with_hole = np.where(X > 1, np.inf, 0.0)
    assert numbers.width(X, with_hole) == pytest.approx(3, abs=0.011)


def test_asymmetry_has_the_sign_of_the_steeper_side() -> None:
    assert numbers.asymmetry(X, 3 * X**2) == pytest.approx(0)
    assert numbers.asymmetry(X, np.where(X > 0, 3, 1) * X**2) == pytest.approx(0.5)
    assert numbers.asymmetry(X, np.where(X > 0, 0, 1) * X**2) == pytest.approx(-1)
    assert np.isnan(numbers.asymmetry(X, np.ones_like(X)))
    part = X >= -1  # the longer side counts as far as the shorter goes
    assert numbers.asymmetry(X[part], np.abs(X[part])) == pytest.approx(0)


def test_sharpness_is_the_largest_rise_in_the_ball() -> None:
    assert numbers.sharpness(X, 2 * X**2 + X, rho=0.505) == pytest.approx(2 * 0.505**2 + 0.505, rel=1e-3)
    assert numbers.sharpness(X, -(X**2), rho=0.5) == 0


def test_roughness_is_zero_of_one_valley_and_counts_both_sides_of_a_bump() -> None:
    assert numbers.roughness(X, X**2 - X) == pytest.approx(0, abs=1e-12)
    assert numbers.roughness(X, X) == pytest.approx(0, abs=1e-12)
    bump = X**2 + np.where(np.abs(X - 1) < 0.005, 0.25, 0)
    assert numbers.roughness(X, bump) == pytest.approx(0.5, abs=0.05)


def test_a_barrier_is_over_the_straight_line_between_the_ends() -> None:
    share = np.linspace(-1.5, 0.5, 81)
    line = 1 + 0.5 * share + 2 * np.where((share > -1) & (share < 0), -share * (1 + share), 0)
    assert numbers.barrier(share, line, -1, 0) == pytest.approx(0.5)
    assert numbers.barrier(share, share**2, -1, 0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_the_area_of_an_ellipse(angle: float) -> None:
    a, b = np.linspace(-1, 1, 81), np.linspace(-0.8, 0.8, 61)
    x, y = np.meshgrid(a, b, indexing="ij")
    u, v = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    loss = 0.7 + 0.1 * ((u / 0.6) ** 2 + (v / 0.3) ** 2)
    assert numbers.area(a, b, loss.ravel()) == pytest.approx(np.pi * 0.6 * 0.3, rel=0.01)
    loss[0, 0] = np.nan
    assert numbers.area(a, b, loss) == pytest.approx(np.pi * 0.6 * 0.3, rel=0.01)
    assert not numbers.spills_over(a, b, loss)
    assert numbers.spills_over(a, b, np.where(a[:, None] == a[-1], 0.0, loss))
    assert numbers.spills_over(a, b, np.where(b[None, :] == b[0], 0.0, loss).ravel())
    assert not numbers.spills_over(a, b, np.where(a[:, None] == a[-1], np.nan, loss))
    assert numbers.area(a, b, np.zeros_like(loss)) == pytest.approx(2 * 1.6)


def test_intervals_cover_what_more_samples_show() -> None:
    """Each sample is a parabola of its own; the numbers of their mean are known."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(200):
        curvature, shift = rng.gamma(4, 0.5, size=300), 0.3 * rng.normal(size=300)
        losses = curvature / 2 * (X[:, None] - shift) ** 2
        found = numbers.of_line(X, sliced(losses), rho=0.5)
        exact = {"width": 2 * (2 * 0.1 / 2) ** 0.5, "sharpness": 0.25, "asymmetry": 0.0}
        covered.append([found[name].low <= value <= found[name].high for name, value in exact.items()])
    shares = np.mean(covered, axis=0)
    assert shares.min() >= 0.9
    assert shares.max() <= 0.99


def test_a_single_group_has_no_interval_and_a_basin_beyond_the_line_no_end() -> None:
    one = sliced(np.stack([X**2, X**2], 1)[:, :1])
    assert np.isnan(numbers.of_line(X, one, rho=1.0)["width"].low)
    flat = numbers.of_line(X, sliced(np.zeros((len(X), 30))), rho=1.0)["width"]
    assert (flat.value, flat.low, flat.high) == (4, 4, np.inf)
