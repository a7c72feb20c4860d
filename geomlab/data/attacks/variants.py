"""An attack with another radius or another number of steps, and noise of its radius: what it is checked against."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from geomlab.data.attacks import FGSM, PGD, Attack, AutoAttack, Ball, FeaturePGD, Norm, Worst
from geomlab.typing import Images


def ball_of(attack: Attack) -> Ball:
    """The set that an attack stays in; of several, the largest."""
    if isinstance(attack, Worst):
        return max((ball_of(one) for one in attack.attacks), key=lambda ball: ball.eps)
    return Ball(attack.eps, "linf" if isinstance(attack, FGSM) else attack.norm)


def is_targeted(attack: Attack) -> bool:
    """Whether an attack, or one of several, is content with one class only."""
    if isinstance(attack, Worst):
        return any(map(is_targeted, attack.attacks))
    return isinstance(attack, PGD) and attack.target is not None


def at_radius(attack: Attack, factor: float) -> Attack:
    """The attack in a ball that is so many times as large; a step of its own grows with it."""
    match attack:
        case Worst(attacks):
            return Worst(tuple(at_radius(one, factor) for one in attacks))  # type: ignore[misc]
        case PGD(step=float(step)) | FeaturePGD(step=float(step)):
            return replace(attack, eps=attack.eps * factor, step=step * factor)
        case _:
            return replace(attack, eps=attack.eps * factor)


def with_steps(attack: Attack, factor: float) -> Attack | None:
    """The attack with so many times the steps, at least one; None where that is the same, or it has none to set.

    A step length of its own stays; else it is `step_length` of the new number. More of FGSM's one step are PGD.
    """
    match attack:
        case Worst(attacks):
            found = [with_steps(one, factor) for one in attacks]
            changed = [one or old for one, old in zip(found, attacks, strict=True)]
            return Worst(tuple(changed)) if any(found) else None  # type: ignore[arg-type]
        case FGSM():
            return PGD(attack.eps, round(factor)) if factor > 1 else None
        case AutoAttack():
            return None
        case _:
            steps = max(1, round(attack.steps * factor))
            return None if steps == attack.steps else replace(attack, steps=steps)


def whole_box(norm: Norm, values: int) -> float:
    """The radius beyond which a ball holds every image in [0, 1].

    Args:
        norm: of the ball.
        values: of an image, C·H·W.
    """
    return 1.0 if norm == "linf" else math.sqrt(values)


def noise(ball: Ball, centre: Images, uniform: Tensor, *, corners: bool) -> Images:
    """Images with random noise of a ball's radius, in [0, 1].

    Args:
        ball: whose radius and norm it has.
        centre: (n, C, H, W) clean images.
        uniform: the same, uniform numbers in [−1, 1].
        corners: a random corner of the cube that the uniform numbers are in, scaled to the radius, instead of
            `Ball.start`: as far as noise goes in every pixel.
    """
    if not corners:
        return ball.project(ball.start(centre, uniform), centre)
    signs = torch.where(uniform < 0, -torch.ones_like(uniform), torch.ones_like(uniform))
    return ball.project(centre + ball.eps * ball.direction(signs), centre)
