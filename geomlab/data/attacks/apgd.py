"""APGD with the cross-entropy, the DLR and the targeted DLR (Croce & Hein 2020, 2003.01690)."""

from dataclasses import dataclass
from typing import Literal

import torch

from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.ascent import Best, Forward, Starts
from geomlab.data.attacks.balls import Ball, Norm
from geomlab.data.attacks.goal import Goal
from geomlab.data.attacks.walk import Walk
from geomlab.typing import Images, Labels, Logits

OTHERS = 9  # targets of APGD-T, section 4


@dataclass(frozen=True)
class APGD:
    """Gradient steps with momentum from 2·eps on, halved at checkpoints where they no longer help.

    Attributes:
        eps: radius in pixel units of [0, 1].
        steps: iterations of a run; default of the paper.
        restarts: random starts, of each target.
        norm: of the ball and of the steps.
        loss: `ce`; `dlr`; or `dlr-t`, a run with the targeted DLR to each of the `OTHERS` likeliest other classes
            (APGD-T), or as many as there are.
        stop: leave a sample once it is misclassified, and keep what did it. Otherwise the highest loss is sought,
            of `dlr-t` over the targets.
    """

    eps: float = 4 / 255
    steps: int = 100
    restarts: int = 1
    norm: Norm = "linf"
    loss: Literal["ce", "dlr", "dlr-t"] = "ce"
    stop: bool = True

    @property
    def passes(self) -> int:
        """Forward passes that it takes as long as, at most: a gradient is three."""
        runs = self.restarts * (OTHERS if self.loss == "dlr-t" else 1)
        return 1 + runs * (3 * self.steps + 1)

    def require(self, classes: int) -> None:
        """Refuse a network of so few classes that the loss is not defined; as for `PGD`."""
        goals.require_classes(self.loss.removesuffix("-t"), classes, targeted=self.loss == "dlr-t")

    def __call__(self, forward: Forward, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits, differentiable in the images.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.
            start: (restarts, n, C, H, W) uniform numbers in [−1, 1]: where each restart begins, see `Ball.start`; of
                all targets the same.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; the clean image where no loss was higher.

        Raises:
            UserError: as `climb` and `require`.
        """
        with torch.no_grad():
            logits = forward(images)
        self.require(logits.shape[1])
        ball, best = Ball(self.eps, self.norm), None
        for goal in self._goals(logits, labels):
            best = Best.at(images, logits, goal) if best is None else best
            for noise in start[: self.restarts]:
                rows = best.open()
                if len(rows) == 0:
                    return best.images
                centre, wanted = images[rows], goal.take(rows)
                begin = ball.project(ball.start(centre, noise[rows]), centre)
                Walk(forward, wanted, ball, centre, rows).run(begin, best, self.steps)
        assert best is not None
        return best.images

    def _goals(self, logits: Logits, labels: Labels) -> list[Goal]:
        done = goals.misclassified if self.stop else goals.never
        if self.loss != "dlr-t":
            return [Goal(goals.LOSSES[self.loss], done, (labels,))]
        targets = goals.others(logits, labels)[:, :OTHERS]
        return [Goal(goals.TARGETED["dlr"], done, (labels, one)) for one in targets.unbind(1)]
