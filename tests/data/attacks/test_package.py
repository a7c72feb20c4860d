"""APGD goes where the package's goes: the same start, the same loss, iterate by iterate."""

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from geomlab.data.attacks import APGD, Ball
from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.ascent import Best
from geomlab.data.attacks.goal import Goal
from geomlab.data.attacks.walk import Walk
from geomlab.rng import generator

STEPS = 100  # as many as the standard version: its checkpoints are those of the paper then, and ours
N, CLASSES = 6, 5
NORMS = {"linf": ("Linf", 0.05), "l2": ("L2", 0.6)}


def seeded(*shape: int, name: str) -> Tensor:
    return torch.rand(shape, generator=generator(0, name), dtype=torch.float64)


class Seen(nn.Module):
    """A network of one hidden layer that remembers which images it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 3 * (seeded(48, 24, name="first") - 0.5)
        self.last = 3 * (seeded(24, CLASSES, name="last") - 0.5)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return torch.tanh(x.flatten(1) @ self.first) @ self.last


IMAGES = 0.2 + 0.6 * seeded(N, 3, 4, 4, name="images")
LABELS = Seen()(IMAGES).argmax(1)
TARGETS = (LABELS + 1) % CLASSES


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["ce", "dlr", "dlr-t"])
def test_up_to_the_first_checkpoint_the_iterates_are_the_packages(norm: str, loss: str) -> None:
    """To the package's float32 of ε; later the two may halve otherwise where a loss rises by rounding alone."""
    theirs, ours = Seen(), Seen()
    called, eps = NORMS[norm]
    ball = Ball(eps, norm)
    start = ball.project(ball.start(IMAGES, 2 * seeded(*IMAGES.shape, name="start") - 1), IMAGES)
    kind = APGDAttack_targeted if loss == "dlr-t" else APGDAttack
    options = {} if loss == "dlr-t" else {"loss": loss}
    package = kind(theirs, n_iter=STEPS, norm=called, eps=eps, device=torch.device("cpu"), **options)
    package.init_hyperparam(IMAGES)
    package.y_target = TARGETS
    reached = package.attack_single_run(IMAGES, LABELS, x_init=start)[2]
    if loss == "dlr-t":
        goal = Goal(goals.TARGETED["dlr"], goals.never, (LABELS, TARGETS))
    else:
        goal = Goal(goals.LOSSES[loss], goals.never, (LABELS,))
    best = Best.at(IMAGES, Seen()(IMAGES), goal)
    Walk(ours, goal, ball, IMAGES, torch.arange(N)).run(start, best, STEPS)
    assert len(ours.seen) == len(theirs.seen) == STEPS + 1
    for mine, other in zip(ours.seen[:23], theirs.seen[:23], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=0)
    moved = (ours.seen[22] - ours.seen[21]).abs().amax()
    assert float(moved) > 1e-4  # still going when they are last compared
    torch.testing.assert_close(best.values, reached, atol=1e-7, rtol=0)


def test_ours_does_what_the_walk_does() -> None:
    """APGD itself begins at `Ball.start` and keeps the highest loss."""
    noise = 2 * seeded(1, *IMAGES.shape, name="start") - 1
    network, ball = Seen(), Ball(0.05)
    found = APGD(0.05, STEPS, stop=False)(network, IMAGES, LABELS, noise)
    torch.testing.assert_close(network.seen[1], ball.project(ball.start(IMAGES, noise[0]), IMAGES))
    values = goals.LOSSES["ce"](network(found), LABELS)
    others = torch.stack([goals.LOSSES["ce"](Seen()(x), LABELS) for x in network.seen[1:-1]]).amax(0)
    torch.testing.assert_close(values, others, atol=1e-5, rtol=1e-5)
