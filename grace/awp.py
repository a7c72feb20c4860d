"""Adversarial weight perturbation in a low-rank branch (term B); what it is by full rank is in grace/sharpness.py.

Perturbations are tensors beside the weights; nothing here writes into a network (`Run.at` evaluates it elsewhere).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.typing import Float, Params, Scalar
from grace.vectors import nonzero


@dataclass(frozen=True, eq=False)
class Branch:
    """B_AWP A_AWP of one weight (Eq. 6) [N].

    Attributes:
        a: (rank, columns).
        b: (rows, rank).
        radius: largest ‖B A‖_F.
    """

    a: Float[Tensor, "rank columns"]
    b: Float[Tensor, "rows rank"]
    radius: float

    @property
    def update(self) -> Float[Tensor, "rows columns"]:
        """B A."""
        return self.b @ self.a


def branches(
    weights: Params, ranks: Mapping[str, int], *, rho: float, rng: torch.Generator
) -> dict[str, Branch]:
    """Branches that perturb nothing yet: A random, B = 0. Only layers of non-zero rank have one [N].

    The ball is relative to the layer: ‖B A‖_F ≤ ρ ‖W‖_F, as AWP has it [O].

    Args:
        weights: W(θ) of each layer; a kernel is read as (out, in·h·w).
        ranks: of each layer's branch.
        rho: ρ.
        rng: of A.
    """
    made = {}
    for name, weight in weights.items():
        if ranks[name]:
            matrix = weight.detach().flatten(1)
            a = torch.randn(ranks[name], matrix.shape[1], generator=rng, dtype=matrix.dtype).to(matrix.device)
            b = matrix.new_zeros(matrix.shape[0], ranks[name])
            made[name] = Branch(a.requires_grad_(True), b.requires_grad_(True), rho * matrix.norm().item())
    return made


def perturbed(base: Params, low_rank: Mapping[str, Branch]) -> dict[str, Tensor]:
    """W(θ0) + B_AWP A_AWP of each layer that has a branch (Eq. 6) [N]; the adapters add their B_W A_W in the network.

    Args:
        base: W(θ0) of each layer.
        low_rank: the branches.
    """
    return {name: base[name] + branch.update.view_as(base[name]) for name, branch in low_rank.items()}


def climb(
    low_rank: Mapping[str, Branch], loss: Scalar, *, step: float, keep_graph: bool
) -> dict[str, Branch]:
    """One ascent step on the factors, projected to the ball (the inner maximum of Eq. 7) [N].

    Each factor moves along its normalised gradient [O]: B so far that the update moves by `step` radii, A by `step` of
    its own norm. From B = 0, where A has no gradient, one whole step ends on the sphere, along G AᵀA for the gradient G
    in W: the steepest ascent within the row space of A.

    Args:
        low_rank: branches that `loss` was computed with.
        loss: what is raised.
        step: in radii of the ball.
        keep_graph: whether `loss` is differentiated again later.

    Returns:
        New branches, free of any graph.
    """
    factors = [factor for branch in low_rank.values() for factor in (branch.a, branch.b)]
    gradients = iter(torch.autograd.grad(loss, factors, retain_graph=keep_graph))
    moved = {}
    for name, branch in low_rank.items():
        up_a, up_b = next(gradients), next(gradients)
        a, b = branch.a.detach(), branch.b.detach()
        new_b = b + step * branch.radius * (up_b / nonzero((up_b @ a).norm()))
        new_a = a + step * a.norm() * (up_a / nonzero(up_a.norm()))
        new_b = new_b * (branch.radius / nonzero((new_b @ new_a).norm())).clamp(max=1)
        moved[name] = Branch(new_a.requires_grad_(True), new_b.requires_grad_(True), branch.radius)
    return moved
