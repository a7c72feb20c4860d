import numpy as np
import pytest

from geomlab.landscape.interpolation import NEAREST, interpolated, losses_between, weights

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.random((60, 2))
PLACES = RANDOM.random((40, 2))


def quadratic(at: np.ndarray) -> np.ndarray:
    x, y = at.T
    return 1 + 2 * x - y + 3 * x * y + x**2 - 5 * y**2


def test_a_quadratic_comes_back_wherever_it_is_asked() -> None:
    np.testing.assert_allclose(weights(POINTS, PLACES).of(quadratic(POINTS)), quadratic(PLACES), atol=1e-8)


def test_it_converges_faster_than_a_grid_of_triangles() -> None:
    """On a smooth surface twice as fine is at least eight times as near: between squares it would be four."""

    def off(side: int) -> float:
        along = np.linspace(0, 1, side)
        grid = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
        surface = lambda at: np.sin(4 * at[:, 0]) * np.cos(3 * at[:, 1])  # noqa: E731
        return float(np.abs(weights(grid, PLACES).of(surface(grid)) - surface(PLACES)).max())

    assert off(13) > 8 * off(25)


def test_it_is_linear_in_the_values_and_their_own_at_the_points() -> None:
    values = RANDOM.random((60, 4))
    found = weights(POINTS, PLACES)
    together = found.of(values)
    for column in range(4):
        np.testing.assert_allclose(found.of(values[:, column]), together[:, column], atol=1e-12)
    np.testing.assert_allclose(found.of(values.sum(1)), together.sum(1), atol=1e-12)
    np.testing.assert_allclose(found.share.sum(1), 1, atol=1e-10)
    np.testing.assert_array_equal(weights(POINTS, POINTS).of(values), values)


def test_a_wall_far_away_is_not_felt() -> None:
    wall = quadratic(POINTS)
    far = np.linalg.norm(POINTS - [1, 1], axis=1) < 0.25
    wall[far] = 1e30
    near = np.array([[0.1, 0.1], [0.2, 0.05]])
    assert far.any()
    assert (~far).sum() >= NEAREST
    np.testing.assert_allclose(weights(POINTS, near).of(wall), quadratic(near), atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 11, 12, 40])
def test_points_on_a_line_or_few_of_them_are_no_trouble(count: int) -> None:
    line = np.stack([np.linspace(0, 1, count), np.full(count, 0.5)], 1)
    found = weights(line, PLACES).of(np.ones(count))
    np.testing.assert_allclose(found, 1, atol=1e-3)


def test_what_is_not_finite_stays_so_and_spoils_nothing() -> None:
    values = quadratic(POINTS)
    values[POINTS[:, 0] > 0.7] = np.inf
    values[0] = np.nan
    finite = np.isfinite(values)
    found = interpolated(POINTS, PLACES, values, finite)
    nearest = np.linalg.norm(PLACES[:, None] - POINTS, axis=-1).argmin(1)
    np.testing.assert_array_equal(np.isfinite(found), finite[nearest])
    seen = np.isfinite(found)
    np.testing.assert_allclose(found[seen], quadratic(PLACES[seen]), atol=1e-8)
    np.testing.assert_array_equal(interpolated(POINTS, PLACES, values, finite & False), values[nearest])


def test_losses_of_samples_whose_logits_are_quadratic_come_back() -> None:
    """Their mean, interpolated itself, is off: it bends where samples turn from right to wrong."""
    turn = np.random.default_rng(1).normal(size=(6, 25)) * 2
    terms = lambda at: np.stack([np.ones(len(at)), *at.T, at.prod(1), *(at.T**2)], 1)  # noqa: E731
    losses = lambda at: np.logaddexp(0, terms(at) @ turn)  # noqa: E731
    every = np.ones(len(POINTS), bool)
    found = losses_between(POINTS, PLACES, losses(POINTS), every)
    apart = np.abs(interpolated(POINTS, PLACES, losses(POINTS).mean(1), every) - losses(PLACES).mean(1))
    assert np.abs(found - losses(PLACES)).max() < 1e-6 < 0.01 * apart.max()
    np.testing.assert_allclose(
        losses_between(POINTS, POINTS, losses(POINTS), every), losses(POINTS), atol=1e-7
    )


def test_losses_that_are_zero_or_not_finite_do_no_harm() -> None:
    losses = np.full((60, 3), 0.0)
    losses[:, 1] = 100.0
    losses[:20] = [np.inf, np.nan, 1.0]
    finite = np.isfinite(losses.sum(1))
    found = losses_between(POINTS, PLACES, losses, finite)
    seen = np.isfinite(found.sum(1))
    assert 10 < seen.sum() < 40
    np.testing.assert_allclose(found[seen], np.array([[0, 100, 0]] * int(seen.sum())), atol=1e-6)
