"""An attack on features, without labels, as FARE trains against."""

from dataclasses import dataclass

import torch

from geomlab.data.attacks import goal as goals
from geomlab.data.attacks.ascent import Best, Forward, Starts
from geomlab.data.attacks.balls import Norm
from geomlab.data.attacks.goal import Goal
from geomlab.data.attacks.losses import squared_distances
from geomlab.data.attacks.pgd import PGD
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Images, Labels


@dataclass(frozen=True)
class FeaturePGD:
    """PGD that moves the features φ: it raises ‖φ(x + δ) − φ(x)‖² (Schlarmann et al. 2024, 2402.12336, eq. 3).

    Plain steps; the official code's have momentum 0.9. There is no gradient at the clean image, so it needs a random
    start.

    Attributes:
        eps: radius in pixel units of [0, 1].
        steps: gradient steps; default as for `PGD`.
        step: length of one step; None is `step_length`.
        restarts: random starts, the worst of which is kept for each sample.
        norm: of the ball and of the steps.
    """

    eps: float = 4 / 255
    steps: int = 10
    step: float | None = None
    restarts: int = 1
    norm: Norm = "linf"

    @property
    def passes(self) -> int:
        """Forward passes that it takes as long as: a gradient is three."""
        return self._pgd.passes

    def require(self, classes: int) -> None:
        """Any network can be attacked; arguments as for `PGD`."""

    def __call__(self, forward: Forward | Subject, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch.

        Args:
            forward: a network, of which `embedding` is attacked; or any other function of the images, (n, dim).
            images: as for `PGD`.
            labels: not looked at.
            start: as for `PGD`.

        Returns:
            As `PGD`.

        Raises:
            UserError: as `ascend`.
        """
        del labels
        encode = embedding(forward) if isinstance(forward, Subject) else forward
        with torch.no_grad():
            reference = encode(images)
        goal = Goal(squared_distances, goals.never, (reference,))
        best = Best.at(images, reference, goal)
        self._pgd.search(encode, goal, images, best, start)
        return best.images

    @property
    def _pgd(self) -> PGD:
        return PGD(self.eps, self.steps, self.step, self.restarts, self.norm)


def embedding(subject: Subject) -> Forward:
    """Images -> features (n, dim): a CLIP's image embeddings before they are normalised, else what feeds the head."""
    from geomlab.clip import ClipClassifier  # imports open_clip

    tower = "visual" if isinstance(subject.module, ClipClassifier) else None

    def encode(images: Images) -> Features:
        seen = subject.activations(images, [tower] if tower else [])
        return seen[tower or FEATURES].flatten(1)

    return encode
