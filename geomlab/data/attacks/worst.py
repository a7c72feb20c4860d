"""The worst case over a set of attacks, sample by sample."""

from dataclasses import dataclass

import torch

from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.apgd import APGD
from geomlab.data.attacks.ascent import Best, Forward, Starts, look
from geomlab.data.attacks.features import FeaturePGD
from geomlab.data.attacks.goal import Goal
from geomlab.data.attacks.losses import cross_entropy
from geomlab.data.attacks.pgd import FGSM, PGD
from geomlab.subject import Subject
from geomlab.typing import Images, Labels

Single = PGD | FGSM | APGD | FeaturePGD


@dataclass(frozen=True)
class Worst:
    """Attacks in turn, each on the samples that are still classified rightly.

    Attributes:
        attacks: in order.
    """

    attacks: tuple[Single, ...]

    @property
    def restarts(self) -> int:
        """Starts of all, no two of which are the same."""
        return sum(attack.restarts for attack in self.attacks)

    @property
    def passes(self) -> int:
        """Forward passes that it takes as long as, at most."""
        return 1 + sum(attack.passes + 1 for attack in self.attacks)

    def require(self, classes: int) -> None:
        """Refuse a network that one of them refuses; as for `PGD`."""
        for attack in self.attacks:
            attack.require(classes)

    def __call__(self, forward: Forward | Subject, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch; arguments as for `PGD`.

        Returns:
            (n, C, H, W) in [0, 1]: for each sample what the first attack found that made it misclassified, the clean
            image where it was so before; else what has the highest cross-entropy.

        Raises:
            UserError: as the attacks.
        """
        with torch.no_grad():
            logits = forward(images)
        self.require(logits.shape[1])
        goal, at = Goal(cross_entropy, goals.misclassified, (labels,)), 0
        best = Best.at(images, logits, goal)
        for attack in self.attacks:
            noise, at = start[at : at + attack.restarts], at + attack.restarts
            rows = best.open()
            if len(rows) == 0:
                break
            found = attack(forward, images[rows], labels[rows], noise[:, rows])
            best.offer(rows, found, *look(forward, goal.take(rows), found))
        return best.images
