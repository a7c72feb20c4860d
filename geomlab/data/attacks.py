"""Adversarial examples, for training and for analysis alike.

Images are in [0, 1], normalisation is inside the network. Gradients are taken by `autograd.grad` with respect to the
images alone, so no attack leaves a trace in any `.grad`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.errors import NotFinite, UserError
from geomlab.typing import Float, Images, Labels, Logits

Forward = Callable[[Images], Logits]
Loss = Callable[[Images], Float[Tensor, "n"]]


def step_length(eps: float, steps: int) -> float:
    """2.5·eps/steps (Madry et al. 2018, appendix): far enough to reach every point of the ball and turn back."""
    return 2.5 * eps / steps


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent in the ℓ∞ ball (Madry et al. 2018).

    Attributes:
        eps: radius in pixel units of [0, 1]. Default 4/255, as on ImageNet in METHOD.md [N].
        steps: gradient steps; default 10 [N].
        step: length of one step; None is `step_length`, 1/255 at the other defaults [N].
        restarts: random starts, the worst of which is kept for each sample.
    """

    eps: float = 4 / 255
    steps: int = 10
    step: float | None = None
    restarts: int = 1

    @property
    def passes(self) -> int:
        """Forward passes that it takes as long as: a gradient is three."""
        return 1 + self.restarts * (3 * self.steps + 1)

    def __call__(
        self, forward: Forward, images: Images, labels: Labels, start: Float[Tensor, "r n c h w"]
    ) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits, differentiable in the images.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.
            start: (restarts, n, C, H, W) uniform numbers in [−1, 1]: where each restart begins, in units of eps.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; for each sample the highest loss over the restarts, and the clean
            image where none was higher.

        Raises:
            UserError: as `ascend`.
        """

        def loss(x: Images) -> Float[Tensor, "n"]:
            return F.cross_entropy(forward(x), labels, reduction="none")

        step = step_length(self.eps, self.steps) if self.step is None else self.step
        best = images.clone()
        with torch.no_grad():
            highest = loss(best)
        for begin in start[: self.restarts]:
            attacked = ascend(
                loss, images, images + self.eps * begin, eps=self.eps, step=step, steps=self.steps
            )
            with torch.no_grad():
                reached = loss(attacked)
            better = reached > highest
            best[better], highest = attacked[better], torch.maximum(highest, reached)
        return best


@dataclass(frozen=True)
class FGSM:
    """One step of length eps along the gradient's sign, from the image itself (Goodfellow et al. 2015).

    Attributes:
        eps: ℓ∞ radius in pixel units of [0, 1].
    """

    eps: float = 4 / 255
    restarts: int = 0
    passes: ClassVar[int] = 3

    def __call__(
        self, forward: Forward, images: Images, labels: Labels, start: Float[Tensor, "r n c h w"]
    ) -> Images:
        """Attack one batch; arguments as for `PGD`, without randomness."""

        def loss(x: Images) -> Float[Tensor, "n"]:
            return F.cross_entropy(forward(x), labels, reduction="none")

        return ascend(loss, images, images, eps=self.eps, step=self.eps, steps=1)


Attack = PGD | FGSM


def ascend(loss: Loss, images: Images, start: Images, *, eps: float, step: float, steps: int) -> Images:
    """Signed gradient ascent on a per-sample loss, projected to the ℓ∞ ball and to [0, 1].

    Args:
        loss: images -> (n,) losses.
        images: centre of the ball.
        start: first iterate; it is projected too.
        eps: radius.
        step: length of one step.
        steps: number of steps.

    Raises:
        UserError: if the loss has no gradient in the images.
        NotFinite: if it has one that is not finite: a NaN counted as zero would look like robustness.
    """
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    x = torch.minimum(torch.maximum(start, low), high).detach()
    for _ in range(steps):
        x.requires_grad_(True)
        with torch.enable_grad():
            total = loss(x).sum()
        gradient = torch.autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise UserError(
                "the logits have no gradient in the images, so the network cannot be attacked; "
                "remove no_grad or detach from its forward pass, or leave the attacks out"
            )
        if not bool(torch.isfinite(gradient).all()):
            raise NotFinite(
                "the attack's gradient is not finite; the loss overflows: check the weights or use float64"
            )
        x = torch.minimum(torch.maximum(x.detach() + step * gradient.sign(), low), high)
    return x.detach()
