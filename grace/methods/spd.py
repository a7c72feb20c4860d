"""SPD: weight decay towards θ0, only where the descent turns back to it (Tian et al. 2024, 2411.01713)."""

import torch
from pydantic import Field
from torch import Tensor

from geomlab.typing import Params
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict
from grace.vectors import nonzero


class Options(Strict):
    """Options of `spd`.

    Attributes:
        strength: λ; 1 undoes all growth of the distance from θ0. Default [O]: that for CLIP was not found.
    """

    strength: float = Field(1.0, ge=0)


def project(before: Tensor, after: Tensor, anchor: Tensor, gradient: Tensor, strength: float) -> Tensor:
    """θ' − λ r (θ' − θ0) where ⟨g, θ − θ0⟩ > 0, else θ' (Algorithm 1).

    r = (‖θ' − θ0‖ − ‖θ − θ0‖)/‖θ' − θ0‖, not below 0: the share of the distance that this step added.

    Args:
        before: θ, before the optimiser's step.
        after: θ', after it.
        anchor: θ0.
        gradient: g at θ.
        strength: λ.
    """
    if not torch.vdot(gradient.flatten(), (before - anchor).flatten()) > 0:
        return after
    return after - strength * growth((before - anchor).norm(), (after - anchor).norm()) * (after - anchor)


def growth(before: Tensor, after: Tensor) -> Tensor:
    """r of two distances from θ0, in [0, 1]."""
    return ((after - before) / nonzero(after)).clamp(min=0, max=1)


def hold(run: Run, before: Params, anchor: Params) -> None:
    """Project each tensor that trains, towards its anchor."""
    for name, weight in run.weights.items():
        if weight.grad is not None:  # the loss may leave one out
            weight.copy_(project(before[name], weight, anchor[name], weight.grad, run.options.strength))


def after_step(run: Run, before: Params) -> None:
    """Project each tensor, towards θ0."""
    hold(run, before, run.anchor)


METHOD = Method(
    name="spd",
    summary="vanilla fine-tuning with decay towards the start where the descent turns back to it",
    reference="Tian et al. 2024 (2411.01713)",
    terms="A",
    trains=ft.METHOD.trains,
    prepare=ft.METHOD.prepare,
    loss=ft.loss,
    after_step=after_step,
    options=Options,
)
