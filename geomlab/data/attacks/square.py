"""The Square attack (Andriushchenko et al. 2020, 1912.00049) as the package pyautoattack runs it."""

from dataclasses import dataclass
from typing import Any

import torch

from geomlab.data.attacks.ascent import Forward
from geomlab.data.attacks.balls import Ball, Norm
from geomlab.data.attacks.standard import by_package, require_package
from geomlab.typing import Images, Labels


@dataclass(frozen=True)
class Square:
    """Random squares that are kept where they lower the margin: it sees logits and no gradient.

    Every sample gets the same noise, so that the batch changes nothing.

    Attributes:
        eps: radius in pixel units of [0, 1].
        norm: `linf` or `l2`.
        queries: forward passes a sample, at most.
        seed: of the package's noise.
    """

    eps: float
    norm: Norm = "linf"
    queries: int = 1000
    seed: int = 0

    def require(self) -> None:
        """Refuse to run without the package.

        Raises:
            UserError: if it is not installed.
        """
        require_package("the Square attack")

    def __call__(self, forward: Forward, images: Images, labels: Labels) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits; it need not be differentiable.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; the clean image where it did not succeed.

        Raises:
            UserError: as `require`.
        """
        self.require()
        with torch.no_grad():
            logits = forward(images)

        def only_this(package: Any) -> None:
            package.attacks_to_run = ["square"]
            package.square.n_queries = self.queries

        ball = Ball(self.eps, self.norm)
        return by_package(forward, images, labels, logits, ball, self.seed, only_this)
