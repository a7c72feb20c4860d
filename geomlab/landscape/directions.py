"""Directions in parameter space, as dicts of the parameters they move."""

import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.risk import gradient
from geomlab.subject import Subject
from geomlab.typing import Params

FILTER_NORMALISED = "random, filter-normalised"


def filter_normalised(weights: Params, generator: torch.Generator) -> dict[str, Tensor]:
    """A random direction on the scale of the weights (Li et al. 2018, arXiv 1712.09913, section 4).

    Each output filter (first dimension) of a Gaussian direction gets the norm of the same filter of the weights:
    d_f·‖θ_f‖/‖d_f‖. Tensors with fewer than two dimensions (biases, norms, class token) do not move, as in the paper's
    code ("ignore = biasbn").

    Args:
        weights: parameters to move.
        generator: CPU generator.
    """
    direction = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            direction[name] = torch.zeros_like(weight)
            continue
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        scale = weight.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
        direction[name] = noise * scale.view(-1, *[1] * (weight.ndim - 1))
    return direction


def adversarial(subject: Subject, batches: Batches, names: list[str], *, rho: float) -> dict[str, Tensor]:
    """One step of adversarial weight perturbation: up the gradient, each matrix by ρ of its own norm.

    Δ_ℓ = ρ ‖W_ℓ‖_F · g_ℓ/‖g_ℓ‖_F for tensors of two or more dimensions (Wu et al. 2020, arXiv 2004.05884, eq. 10-11);
    the others do not move.

    Args:
        subject: the network.
        batches: inputs the loss is taken on.
        names: parameters to move.
        rho: relative size of the step.
    """
    direction = {}
    for name, slope in gradient(subject, batches, names).items():
        weight, length = subject.weights[name], slope.norm()
        moves = weight.ndim > 1 and bool(length > 0)
        direction[name] = rho * weight.norm() * slope / length if moves else torch.zeros_like(weight)
    return direction


def norm(direction: Params) -> float:
    """Euclidean length over all parameters, in fp64."""
    return float(sum(float(tensor.double().square().sum()) for tensor in direction.values()) ** 0.5)
