"""Gradients in the images, and what has been found so far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.data.attacks.balls import Ball, Norm
from geomlab.data.attacks.goal import Goal
from geomlab.errors import NotFinite, UserError
from geomlab.typing import Bool, Float, Images, Int, Logits, Scalar

Forward = Callable[[Images], Logits]
Loss = Callable[[Images], Float[Tensor, "n"]]
Starts = Float[Tensor, "r n c h w"]


@dataclass(eq=False)
class Best:
    """The best point found of each sample: one that is done before one that is not, then the highest loss.

    Attributes:
        images: (n, C, H, W).
        values: (n,) losses.
        done: (n,) whether the goal is reached there.
    """

    images: Images
    values: Float[Tensor, "n"]
    done: Bool[Tensor, "n"]

    @classmethod
    def at(cls, images: Images, outputs: Tensor, goal: Goal) -> "Best":
        """Begin with these images and the network's outputs for them."""
        return cls(images.clone(), goal.values(outputs), goal.reached(outputs))

    def open(self) -> Int[Tensor, "m"]:
        """Numbers of the samples that are not done."""
        return (~self.done).nonzero().squeeze(1)

    def offer(
        self, rows: Int[Tensor, "m"], images: Images, values: Float[Tensor, "m"], done: Bool[Tensor, "m"]
    ) -> None:
        """Take the points that are better.

        Args:
            rows: numbers of the samples.
            images: (m, C, H, W) points of these.
            values: their losses.
            done: whether they reach the goal.
        """
        before = self.done[rows]
        better = (done & ~before) | ((done == before) & (values > self.values[rows]))
        at = rows[better]
        self.images[at], self.values[at], self.done[at] = images[better], values[better], done[better]


def look(forward: Forward, goal: Goal, images: Images) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """Loss of each sample, and whether it is done.

    Raises:
        NotFinite: if a loss is NaN: no point would be better, and the network look robust.
    """
    with torch.no_grad():
        outputs = forward(images)
        values = goal.values(outputs)
        check_values(values)
        return values, goal.reached(outputs)


def check_values(values: Tensor) -> None:
    """Refuse losses or logits that are NaN.

    Raises:
        NotFinite: if one is.
    """
    if bool(values.isnan().any()):
        raise NotFinite("the network gives NaN for attacked images; check the weights or use float64")


def check_gradient(gradient: Images) -> None:
    """Refuse a gradient in the images that is not finite.

    Raises:
        NotFinite: if it is: a NaN counted as zero would look like robustness.
    """
    if not bool(torch.isfinite(gradient).all()):
        raise NotFinite(
            "the attack's gradient is not finite; the loss overflows: check the weights or use float64"
        )


def climb(
    forward: Forward, goal: Goal, images: Images
) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"], Images]:
    """Loss of each sample, whether it is done, and the loss's gradient in its image.

    Raises:
        UserError: as `slope` and `check_values`.
    """
    x = images.detach().requires_grad_(True)
    with torch.enable_grad():
        outputs = forward(x)
        values = goal.values(outputs)
        total = values.sum()
    gradient = slope(total, x)
    check_values(values)
    return values.detach(), goal.reached(outputs.detach()), gradient


def slope(total: Scalar, x: Images) -> Images:
    """The gradient of a sum of losses in the images, with no trace in any `.grad`.

    Raises:
        UserError: if it has none.
        NotFinite: as `check_gradient`.
    """
    gradient = torch.autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        raise UserError(
            "the logits have no gradient in the images, so the network cannot be attacked; "
            "remove no_grad or detach from its forward pass, or leave the attacks out"
        )
    check_gradient(gradient)
    return gradient


def ascend(
    loss: Loss, images: Images, start: Images, *, eps: float, step: float, steps: int, norm: Norm = "linf"
) -> Images:
    """Steepest ascent on a per-sample loss, projected to the ball and to [0, 1].

    Args:
        loss: images -> (n,) losses.
        images: centre of the ball.
        start: first iterate; it is projected too.
        eps: radius.
        step: length of one step.
        steps: number of steps.
        norm: of the ball and of the steps.

    Raises:
        UserError: as `slope`.
    """
    ball = Ball(eps, norm)
    x = ball.project(start, images).detach()
    for _ in range(steps):
        x.requires_grad_(True)
        with torch.enable_grad():
            total = loss(x).sum()
        x = ball.project(x.detach() + step * ball.direction(slope(total, x)), images)
    return x.detach()
