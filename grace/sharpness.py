"""Loss at weights that were moved to raise it: what AWP, SAM and ASAM have in common, and their three balls.

A perturbation is a tensor beside each weight; nothing is written into the network (`Run.at` evaluates it elsewhere), so
there is nothing to undo, also where an exception flies.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from geomlab.typing import Params, Scalar
from grace.run import Run
from grace.vectors import nonzero

Climb = Callable[[Params, Params], dict[str, Tensor]]
"""Weights and the loss's gradient in them, by name -> what is added to the weights."""


def loss_above(run: Run, loss: Callable[[], Scalar], climb: Climb) -> Scalar:
    """L(θ + v), v = climb(θ, ∇L(θ)) held constant, so that its gradient in θ is that of L at θ + v.

    Args:
        run: the run, whose weights that train are moved.
        loss: L, called twice without arguments.
        climb: gives v.
    """
    moves = climb(run.weights, run.gradient(loss()))
    return run.at({name: run.weights[name] + move for name, move in moves.items()}, loss)


def layers(weights: Params, gradients: Params, gamma: float) -> dict[str, Tensor]:
    """γ ‖w‖ g/‖g‖ of each weight with more than one dimension (Wu et al. 2020, 2004.05884, eq. 10); the others stay.

    Args:
        weights: w, by name.
        gradients: g, by name.
        gamma: γ, the perturbation's size relative to the weight.
    """
    return {
        name: gamma * weight.detach().norm() * (gradients[name] / nonzero(gradients[name].norm()))
        for name, weight in weights.items()
        if weight.ndim > 1
    }


def sphere(gradients: Params, rho: float) -> dict[str, Tensor]:
    """ρ g/‖g‖, the norm over all weights together (Foret et al. 2021, 2010.01412, eq. 2 with p = 2).

    Args:
        gradients: g, by name.
        rho: ρ.
    """
    length = _norm(gradients)
    return {name: rho * gradient / length for name, gradient in gradients.items()}


def ellipsoid(weights: Params, gradients: Params, rho: float, eta: float) -> dict[str, Tensor]:
    """ρ T² g/‖T g‖ with T = |w| + η entry by entry (Kwon et al. 2021, 2102.11600, section 4).

    The ball ‖T⁻¹ v‖ ≤ ρ scales with the weights. T is that of the paper for all weights; its official code leaves gains
    and biases at T = 1.

    Args:
        weights: w, by name.
        gradients: g, by name.
        rho: ρ.
        eta: η, which keeps entries near zero movable.
    """
    scales = {name: weight.detach().abs() + eta for name, weight in weights.items()}
    scaled = {name: scale * gradients[name] for name, scale in scales.items()}
    length = _norm(scaled)
    return {name: rho * scales[name] * gradient / length for name, gradient in scaled.items()}


def _norm(tensors: Params) -> Tensor:
    """Euclidean norm over all tensors together, to divide by."""
    return nonzero(torch.stack([tensor.norm() for tensor in tensors.values()]).norm())
