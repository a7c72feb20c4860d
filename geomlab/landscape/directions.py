"""Directions in parameter space, as dicts of the parameters they move."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.risk import gradient
from geomlab.subject import Subject
from geomlab.typing import Params

NORMALISATIONS = ("filter", "layer", "none")


def gaussian(weights: Params, generator: torch.Generator, normalisation: str = "filter") -> dict[str, Tensor]:
    """A random Gaussian direction on the scale of the weights.

    By `filter`, each output filter (first dimension) gets the norm of the same filter of the weights, d_f·‖θ_f‖/‖d_f‖
    (Li et al. 2018, arXiv 1712.09913, section 4); by `layer`, each tensor gets the norm of the weights' tensor. Tensors
    with fewer than two dimensions (biases, norms, class token) then do not move, as in the paper's code ("ignore =
    biasbn"). By `none` every entry moves alike, and the whole gets the norm of the whole.

    The noise depends on the generator and the shapes alone: it is the same for every normalisation.

    Args:
        weights: parameters to move.
        generator: CPU generator.
        normalisation: one of `NORMALISATIONS`.
    """
    noise = {
        name: torch.randn(weight.shape, generator=generator).to(weight) for name, weight in weights.items()
    }
    if normalisation == "none":
        return scaled(noise, norm(weights) / norm(noise))
    return {name: _on_the_scale_of(weights[name], drawn, normalisation) for name, drawn in noise.items()}


def _on_the_scale_of(weight: Tensor, noise: Tensor, normalisation: str) -> Tensor:
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    if normalisation == "layer":
        return noise.mul(weight.norm() / noise.norm())
    scale: Tensor = weight.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    return noise.mul(scale.view(-1, *[1] * (weight.ndim - 1)))


def adversarial(
    subject: Subject, batches: Batches, names: list[str], *, rho: float, rank: int | None = None
) -> dict[str, Tensor]:
    """One step of adversarial weight perturbation: up the gradient, each matrix by ρ of its own norm.

    Δ_ℓ = ρ ‖W_ℓ‖_F · g_ℓ/‖g_ℓ‖_F for tensors of two or more dimensions (Wu et al. 2020, arXiv 2004.05884, eq. 10-11);
    the others do not move. Of low rank, as in LAR-AWP (METHOD.md), g_ℓ is first cut to its largest singular values:
    the steepest step of that rank in the ball.

    Args:
        subject: the network.
        batches: inputs the loss is taken on.
        names: parameters to move.
        rho: relative size of the step.
        rank: of a layer's step; None for any.
    """
    direction = {}
    for name, slope in gradient(subject, batches, names).items():
        weight = subject.weights[name]
        if rank is not None and weight.ndim > 1:
            slope = _of_rank(slope, rank)
        length = slope.norm()
        moves = weight.ndim > 1 and bool(length > 0)
        direction[name] = rho * weight.norm() * slope / length if moves else torch.zeros_like(weight)
    return direction


def _of_rank(slope: Tensor, rank: int) -> Tensor:
    """The nearest of that rank; a kernel is read as (out, in·h·w)."""
    u, values, v = torch.linalg.svd(slope.flatten(1), full_matrices=False)
    nearest: Tensor = (u[:, :rank] * values[:rank]) @ v[:rank]
    return nearest.view_as(slope)


def orthogonalised(directions: Sequence[Params]) -> list[dict[str, Tensor]]:
    """Each direction without its part along those before it, at its own length (Gram-Schmidt, twice).

    A direction that lies in the span of those before it becomes zero.

    Args:
        directions: of the same parameters.
    """
    made: list[dict[str, Tensor]] = []
    for direction in directions:
        left = dict(direction)
        for _ in range(2):  # once leaves rounding times the cosine
            for other in made:
                square = inner(other, other)
                if square:
                    left = plus(left, other, -inner(left, other) / square)
        length, remains = norm(direction), norm(left)
        precision = max(torch.finfo(tensor.dtype).eps for one in directions for tensor in one.values())
        hidden = remains <= 10 * precision * length
        made.append(scaled(left, 0.0 if hidden else length / remains))
    return made


def plus(a: Params, b: Params, factor: float = 1.0) -> dict[str, Tensor]:
    """A + factor·b, of the same parameters."""
    return {name: tensor + factor * b[name] for name, tensor in a.items()}


def scaled(direction: Params, factor: float) -> dict[str, Tensor]:
    """A multiple of a direction."""
    return {name: factor * tensor for name, tensor in direction.items()}


def inner(a: Params, b: Params) -> float:
    """⟨a, b⟩ over all parameters, in fp64."""
    return float(sum(float((a[name].double() * b[name].double()).sum()) for name in a))


def norm(direction: Params) -> float:
    """Euclidean length over all parameters, in fp64."""
    return math.sqrt(inner(direction, direction))
