"""Directions in parameter space, as dicts of the parameters they move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab import params
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


@dataclass(frozen=True, eq=False)
class LowRank:
    """A direction in which low-rank updates can move.

    Attributes:
        direction: of all parameters; zero where there is no update.
        rank: the largest of any update.
        matrices: how many there are; each of q, k and v counts.
    """

    direction: dict[str, Tensor]
    rank: int
    matrices: int


def low_rank(weights: Params, base: Params, generator: torch.Generator, rank: int | None = None) -> LowRank:
    """A random Gaussian direction among the first-order changes of low-rank updates, layer-normalised.

    W = W₀ + BA moves by dB·A + B·dA: the tangent space {XVᵀ + UYᵀ} at the update's singular vectors U, V (Koch &
    Lubich 2007, 10.1137/050639703), whatever the factors were. The noise of the whole space is projected onto it, and
    each matrix gets the norm of the weight's, as by `gaussian` with `layer`. A kernel is read as (out, in·h·w), a
    weight that stacks q, k and v as three.

    Args:
        weights: W, of the adapted network, merged.
        base: W₀, of the same parameters.
        generator: CPU generator.
        rank: to which updates are cut; None for that of each, by what is above rounding.

    Raises:
        ValueError: if no matrix moved, or where `rank` is None one has full rank that is above that of the others:
            no LoRA made it.
    """
    direction, ranks, whole = {}, [0], []
    for name, weight in weights.items():
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        direction[name] = torch.zeros_like(weight)
        if weight.ndim < 2 or torch.equal(weight, base[name]):
            continue
        blocks = params.stacked(name, weight)
        parts = [x.flatten(1).double().chunk(blocks) for x in (weight, base[name], noise)]
        made = []
        for one, before, drawn in zip(*parts, strict=True):
            u, v = _update(one, before, rank)
            if u.shape[1] < min(one.shape) or rank is not None:
                ranks.append(u.shape[1])
            else:
                whole.append((name, u.shape[1]))
            left = u @ (u.T @ drawn)
            made.append(left + (drawn - left) @ v @ v.T)
        projected = torch.cat(made)
        length = projected.norm()
        if length:
            direction[name] = (projected * (weight.double().norm() / length)).view_as(weight).to(weight)
    matrices = sum(found > 0 for found in ranks) + len(whole)
    if not matrices:
        raise ValueError("no matrix differs from the reference's, so there is no update")
    largest = max(ranks)
    for name, found in whole:
        if found > largest:
            raise ValueError(
                f"the update of {name} has full rank, so no LoRA made it; give rank=…, or leave it out by params=…"
            )
    return LowRank(direction, largest, matrices)


def _update(weight: Tensor, base: Tensor, rank: int | None) -> tuple[Tensor, Tensor]:
    """Left and right singular vectors (rows, r) and (columns, r) of a matrix's update, of what is above rounding."""
    u, values, v = torch.linalg.svd(weight - base, full_matrices=False)
    stored = torch.finfo(torch.float32).eps  # a checkpoint's precision, or a better one
    noise = stored * float(weight.abs().max()) * sum(weight.shape) ** 0.5
    found = int((values > noise).sum())
    kept = found if rank is None else min(rank, found)
    return u[:, :kept], v[:kept].T


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
