import pytest
import torch

from geomlab.data.attacks.balls import NORMS, Ball, Norm
from geomlab.rng import generator

CENTRE = 0.3 + 0.4 * torch.rand((500, 3, 2, 2), generator=generator(0, "centre"), dtype=torch.float64)
NOISE = torch.rand(CENTRE.shape, generator=generator(0, "noise"), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_inside_stays_and_what_is_outside_comes_to_the_border(norm: Norm) -> None:
    ball = Ball(0.1, norm)
    near, far = CENTRE + 0.01 * NOISE, CENTRE + NOISE
    torch.testing.assert_close(ball.project(near, CENTRE), near)
    found = ball.project(far, CENTRE)
    torch.testing.assert_close(ball.project(found, CENTRE), found)
    if norm == "linf":
        torch.testing.assert_close(found - CENTRE, NOISE.clamp(-0.1, 0.1))
    else:  # the box is farther than the radius
        expected = 0.1 * NOISE / NOISE.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        torch.testing.assert_close(found - CENTRE, expected)


@pytest.mark.parametrize("norm", NORMS)
def test_a_direction_is_the_steepest_of_its_length(norm: Norm) -> None:
    """⟨g, d⟩ is the dual norm of g: ‖g‖₁ for ℓ∞, ‖g‖₂ for ℓ2."""
    found = (NOISE * Ball(0.1, norm).direction(NOISE)).flatten(1).sum(1)
    torch.testing.assert_close(found, NOISE.flatten(1).norm(p=1 if norm == "linf" else 2, dim=1))
    assert torch.equal(Ball(0.1, norm).direction(torch.zeros_like(NOISE)), torch.zeros_like(NOISE))


def test_starts_in_l2_are_on_the_sphere_in_every_direction_alike() -> None:
    away = (Ball(0.2, "l2").start(CENTRE, NOISE) - CENTRE).flatten(1)
    torch.testing.assert_close(away.norm(dim=1), torch.full((500,), 0.2, dtype=torch.float64))
    covariance = away.T @ away / 500 * 12 / 0.2**2
    assert float((covariance - torch.eye(12)).abs().max()) < 0.2
    kurtosis = float((away**4).mean() / (away**2).mean() ** 2)
    assert kurtosis == pytest.approx(3 * 12 / 14, rel=0.05)  # of a sphere in 12 dimensions: 3d/(d+2)


def test_noise_at_its_ends_gives_a_finite_start() -> None:
    ends = NOISE.sign()
    assert bool(torch.isfinite(Ball(0.2, "l2").start(CENTRE, ends)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_of_no_radius_is_its_centre(norm: Norm) -> None:
    torch.testing.assert_close(Ball(0.0, norm).project(CENTRE + NOISE, CENTRE), CENTRE)
    torch.testing.assert_close(Ball(0.0, norm).project(CENTRE, CENTRE), CENTRE)
