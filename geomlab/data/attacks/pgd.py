"""Projected gradient descent and the one step it came from."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.ascent import Best, Forward, Starts, ascend, climb, look
from geomlab.data.attacks.balls import Ball, Norm
from geomlab.data.attacks.goal import Goal, Target
from geomlab.data.attacks.losses import cross_entropy
from geomlab.errors import UserError
from geomlab.typing import Float, Images, Int, Labels, Logits


def step_length(eps: float, steps: int) -> float:
    """2.5·eps/steps (Madry et al. 2018, appendix): far enough to reach every point of the ball and turn back."""
    return 2.5 * eps / steps


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent in the ℓ∞ or ℓ2 ball (Madry et al. 2018).

    Attributes:
        eps: radius in pixel units of [0, 1]. Default 4/255, as on ImageNet in METHOD.md [N].
        steps: gradient steps; default 10 [N].
        step: length of one step; None is `step_length`, 1/255 at the other defaults [N].
        restarts: random starts, the worst of which is kept for each sample.
        norm: of the ball and of the steps.
        loss: what is raised: `ce` or `dlr`.
        target: raise the targeted loss instead, towards this class; samples of the class stay as they are.
        keep: of each restart, its `last` iterate, as Madry et al.; or the `best`, at no more passes.
        stop: leave a sample once it is misclassified (with a target: taken for that), and keep what did it. The rest
            goes on as if alone, and keeps its best iterate.
    """

    eps: float = 4 / 255
    steps: int = 10
    step: float | None = None
    restarts: int = 1
    norm: Norm = "linf"
    loss: Literal["ce", "dlr"] = "ce"
    target: Target | None = None
    keep: Literal["last", "best"] = "last"
    stop: bool = False

    @property
    def passes(self) -> int:
        """Forward passes that it takes as long as, at most: a gradient is three."""
        return 1 + self.restarts * (3 * self.steps + 1)

    def require(self, classes: int) -> None:
        """Refuse a network that it cannot attack.

        Args:
            classes: number of its logits.

        Raises:
            UserError: if the loss is not defined for so few, or the target is none of them.
        """
        goals.require_classes(self.loss, classes, targeted=self.target is not None)
        if isinstance(self.target, int) and not 0 <= self.target < classes:
            raise UserError(f"target={self.target}: the network has the classes 0 to {classes - 1}")

    def __call__(self, forward: Forward, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits, differentiable in the images.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.
            start: (restarts, n, C, H, W) uniform numbers in [−1, 1]: where each restart begins, see `Ball.start`.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; for each sample the highest loss over the restarts, and the clean
            image where none was higher.

        Raises:
            UserError: as `ascend` and `require`.
        """
        with torch.no_grad():
            logits = forward(images)
        self.require(logits.shape[1])
        goal = self._goal(logits, labels)
        best = Best.at(images, logits, goal)
        if self.target is not None:
            best.done |= goal.given[0] == goal.given[1]
        self.search(forward, goal, images, best, start)
        return best.images

    def search(self, forward: Forward, goal: Goal, images: Images, best: Best, start: Starts) -> None:
        """Go up from each start with the samples that are not done.

        Args:
            forward: images -> outputs that the goal takes.
            goal: of all samples.
            images: (n, C, H, W), centres.
            best: what is known; better points are written there.
            start: as for a call.
        """
        ball = Ball(self.eps, self.norm)
        for noise in start[: self.restarts]:
            rows = best.open()
            if len(rows) == 0:
                return
            centre, wanted = images[rows], goal.take(rows)
            begin = ball.start(centre, noise[rows])
            if self.stop or self.keep == "best":
                self._best_iterate(forward, wanted, centre, best, rows, begin)
            else:
                self._last_iterate(forward, wanted, centre, best, rows, begin)

    @property
    def _length(self) -> float:
        return step_length(self.eps, self.steps) if self.step is None else self.step

    def _goal(self, logits: Logits, labels: Labels) -> Goal:
        if self.target is None:
            done = goals.misclassified if self.stop else goals.never
            return Goal(goals.LOSSES[self.loss], done, (labels,))
        given = (labels, goals.targets_of(self.target, logits, labels))
        return Goal(goals.TARGETED[self.loss], goals.at_target if self.stop else goals.never, given)

    def _last_iterate(
        self, forward: Forward, goal: Goal, centre: Images, best: Best, rows: Tensor, begin: Images
    ) -> None:
        def loss(x: Images) -> Float[Tensor, "n"]:
            return goal.values(forward(x))

        reached = ascend(
            loss, centre, begin, eps=self.eps, step=self._length, steps=self.steps, norm=self.norm
        )
        best.offer(rows, reached, *look(forward, goal, reached))

    def _best_iterate(
        self, forward: Forward, goal: Goal, centre: Images, best: Best, rows: Int[Tensor, "m"], begin: Images
    ) -> None:
        ball = Ball(self.eps, self.norm)
        x = ball.project(begin, centre)
        for _ in range(self.steps):
            values, done, gradient = climb(forward, goal, x)
            best.offer(rows, x, values, done)
            going = ~done
            if not bool(going.any()):
                return
            rows, goal, centre = rows[going], goal.take(going), centre[going]
            x = ball.project(x[going] + self._length * ball.direction(gradient[going]), centre)
        best.offer(rows, x, *look(forward, goal, x))


@dataclass(frozen=True)
class FGSM:
    """One step of length eps along the gradient's sign, from the image itself (Goodfellow et al. 2015).

    Attributes:
        eps: ℓ∞ radius in pixel units of [0, 1].
    """

    eps: float = 4 / 255
    restarts: ClassVar[int] = 0
    passes: ClassVar[int] = 3

    def require(self, classes: int) -> None:
        """Any network can be attacked; arguments as for `PGD`."""

    def __call__(self, forward: Forward, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch; arguments as for `PGD`, without randomness."""

        def loss(x: Images) -> Float[Tensor, "n"]:
            return cross_entropy(forward(x), labels)

        return ascend(loss, images, images, eps=self.eps, step=self.eps, steps=1)
