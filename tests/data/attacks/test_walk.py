import pytest
import torch
from torch import Tensor

from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.ascent import Best
from geomlab.data.attacks.balls import Ball
from geomlab.data.attacks.goal import Goal
from geomlab.data.attacks.walk import Walk, checkpoints
from geomlab.rng import generator


def test_checkpoints_are_the_papers() -> None:
    """Of 100 iterations, section 3: p = 0, .22, .41, .57, .70, .80, .87, .93, .99."""
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [0, 1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_walk_is_algorithm_1(norm: str) -> None:
    """Against one sample at a time by plain numbers, on a concave loss with its maximum inside the ball."""
    n, eps, steps = 6, 0.25, 30
    centre = 0.3 + 0.4 * torch.rand((n, 1, 2, 2), generator=generator(0, "c"), dtype=torch.float64)
    top = centre + 0.1 * torch.randn(centre.shape, generator=generator(0, "t"), dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 0.2, 9.0], dtype=torch.float64)
    start = Ball(eps, norm).project(centre + 0.2, centre)

    def loss(x: Tensor, to: Tensor) -> Tensor:
        return -((x - to).flatten(1).square() * weights).sum(1)

    goal = Goal(loss, goals.never, (top,))
    best = Best.at(centre, centre, goal)
    Walk(lambda x: x, goal, Ball(eps, norm), centre, torch.arange(n)).run(start, best, steps)
    for i in range(n):
        one = slice(i, i + 1)
        expected = naive(
            lambda x, one=one: loss(x, top[one]), centre[one], start[one], Ball(eps, norm), steps
        )
        clean = float(loss(centre[one], top[one]))
        assert float(best.values[i]) == pytest.approx(max(expected, clean), rel=1e-9, abs=1e-12)


def naive(loss, centre: Tensor, x0: Tensor, ball: Ball, steps: int) -> float:
    def at(x: Tensor) -> tuple[float, Tensor]:
        y = x.clone().requires_grad_()
        value = loss(y)
        return float(value.detach()), torch.autograd.grad(value.sum(), y)[0]

    marks, step, halved = checkpoints(steps), 2 * ball.eps, True
    x, before = x0, x0
    f, g = at(x)
    x_max, f_max, g_max = x, f, g
    f_checked, rises = f, 0
    for k in range(steps):
        z = ball.project(x + step * ball.direction(g), centre)
        new = z if k == 0 else ball.project(x + 0.75 * (z - x) + 0.25 * (x - before), centre)
        before, x, f_before = x, new, f
        f, g = at(x)
        rises += f > f_before
        if f > f_max:
            x_max, f_max, g_max = x, f, g
        if k + 1 in marks:
            length = k + 1 - marks[marks.index(k + 1) - 1]
            halve = rises < 0.75 * length or (not halved and f_max <= f_checked)
            if halve:
                step, x, f, g = step / 2, x_max, f_max, g_max
            halved, f_checked, rises = halve, f_max, 0
    return f_max
