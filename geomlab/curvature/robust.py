"""The Hessian of the robust risk: the mean of the largest loss within the ℓ∞ ball, the attack run anew at each point.

By Danskin's theorem (1966) the gradient of a maximum is that of the loss at the inputs where it is attained, so an
attack and a gradient give it, and differences of those its curvature. Second derivatives of the loss at attacked inputs
(`Hessian` on an adversarial condition) hold the inputs fixed instead.

The two differ less than one might think. An attack by signs moves the inputs to points that are locally constant in θ,
so wherever both exist they agree. What the robust risk has beside it sits in kinks, where a sign or the worst restart
changes, as in ‖w‖₁ at wᵢ = 0: derivatives do not see those, a step of finite length does. An adapted step shrinks until
it crosses none, as far as its retries reach, and its error says where it did not. For the curvature at a scale, kinks
included, give the step.
"""

from dataclasses import replace

import torch
from torch import Tensor

from geomlab import params
from geomlab.curvature.finite_difference import FiniteDifference
from geomlab.data.attacks import Attack
from geomlab.data.batches import Batches
from geomlab.risk import RECOMPUTED, value_and_gradient
from geomlab.subject import Subject
from geomlab.typing import Float, Params, Vector

Starts = Float[Tensor, "restarts n channels height width"]


def of_robust_risk(
    subject: Subject,
    clean: Batches,
    names: list[str],
    *,
    attack: Attack,
    starts: Starts,
    step: float | None = None,
) -> FiniteDifference:
    """About the Hessian of the mean loss under an attack that is recomputed at each point.

    A gradient costs the attack's steps and restarts, and one more.

    Args:
        subject: the network at the point of interest.
        clean: the inputs that are attacked.
        names: parameter names; their order is the order of the vectors' entries.
        attack: what stands for the maximum; a weak one gives a lower bound of the risk, and the curvature of that.
        starts: where its restarts begin, the same at each point, so that the risk is a function of θ; see
            `Condition.starts`.
        step: as for `FiniteDifference`.
    """

    def gradient(weights: Params) -> tuple[float, Vector]:
        attacked = _attacked(subject.at(weights), clean, attack, starts)
        loss, pieces = value_and_gradient(subject, attacked, weights)
        return loss, params.flatten(pieces)

    centre = {name: subject.weights[name] for name in names}
    return FiniteDifference(
        gradient, centre, step=step, whole=subject.weights, name=subject.name, inputs=RECOMPUTED
    )


def _attacked(subject: Subject, clean: Batches, attack: Attack, starts: Starts) -> Batches:
    parts = zip(clean, starts.split(clean.batch_size, dim=1), strict=True)
    images = [attack(subject, images, labels, start) for (images, labels), start in parts]
    return replace(clean, images=torch.cat(images))
