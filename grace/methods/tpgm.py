"""TPGM: how far each tensor may move from θ0 is learnt on held-back samples (Tian et al. 2023, 2303.10720)."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from geomlab import progress
from geomlab.typing import Params, Scalar
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict
from grace.vectors import nonzero


class Options(Strict):
    """Options of `tpgm`; defaults from the official repository (FACTS.md).

    Attributes:
        iterations: of the radii's optimiser.
        lr: learning rate of the radii, in units of the weights.
    """

    iterations: int = Field(200, ge=1)
    lr: float = Field(1e-2, gt=0)


def finish(run: Run) -> None:
    """Project every tensor that trained, the head too, by the radii that are best on the held-back samples."""
    radii = learn_radii(run)
    with torch.no_grad():
        for name, tensor in project(run.anchor, run.weights, radii).items():
            run.weights[name].copy_(tensor)


def project(anchor: Params, weights: Params, radii: Params) -> dict[str, Tensor]:
    """θ0 + min(1, γ/‖Δ‖₂) Δ of each tensor, Δ = θ − θ0 (eq. 4).

    Args:
        anchor: θ0, by name.
        weights: θ.
        radii: γ ≥ 0, one number a tensor.
    """
    projected = {}
    for name, start in anchor.items():
        delta = weights[name].detach() - start
        projected[name] = start + (radii[name] / nonzero(delta.norm())).clamp(max=1) * delta
    return projected


def learn_radii(run: Run) -> dict[str, Tensor]:
    """γ of each tensor by Adam on the cross-entropy of held-back samples.

    They begin at half of ‖Δ‖ [O] and are kept in [0, ‖Δ‖] [O]: above it the projection does nothing and γ has no
    gradient to come back by.
    """
    options = run.options
    lengths = {name: (run.weights[name].detach() - start).norm() for name, start in run.anchor.items()}
    radii = {name: (length / 2).requires_grad_(True) for name, length in lengths.items()}
    optimiser = torch.optim.Adam(radii.values(), lr=options.lr)
    with progress.bar(options.iterations, "tpgm: radii") as bar:
        for i in range(options.iterations):
            loss = _held_back_loss(run, project(run.anchor, run.weights, radii), i)
            found = torch.autograd.grad(loss, list(radii.values()), allow_unused=True, materialize_grads=True)
            _step(optimiser, radii, dict(zip(radii, found, strict=True)), lengths)
            bar.advance()
    return {name: radius.detach() for name, radius in radii.items()}


def _held_back_loss(run: Run, weights: Params, i: int) -> Scalar:
    """Mean cross-entropy of the i-th held-back batch at other weights."""
    assert run.validation is not None
    batch = run.validation.batch(i).to(run.device)
    return run.at(weights, lambda: ft.loss(run, batch)["cross_entropy"])


@torch.no_grad()
def _step(
    optimiser: torch.optim.Optimizer, radii: Mapping[str, Tensor], gradients: Params, highest: Params
) -> None:
    for name, radius in radii.items():
        radius.grad = gradients[name]
    optimiser.step()
    for name, radius in radii.items():
        radius.clamp_(min=0).clamp_(max=highest[name])


METHOD = Method(
    name="tpgm",
    summary="vanilla fine-tuning, then each tensor projected to a distance from the start that held-back samples chose",
    reference="Tian et al. 2023 (2303.10720)",
    terms="A",
    trains=ft.METHOD.trains,
    prepare=ft.METHOD.prepare,
    loss=ft.loss,
    finish=finish,
    options=Options,
    held_back="learns its radii",
)
