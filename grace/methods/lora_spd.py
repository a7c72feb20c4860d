"""SPD through adapters: decay of the factors, or of their product (Tian et al. 2024, 2411.01713)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from geomlab.typing import Float, Params
from grace.method import Method
from grace.methods import ft, lora_ft, spd
from grace.run import Run
from grace.settings import Strict

Factors = Float[Tensor, "blocks _ _"]


class Options(Strict):
    """Options of `lora-spd`.

    Attributes:
        strength: λ, as in `spd`. Default [O].
        anchor: what is held to 0: the `factors` A and B, or their `product` ΔW. Default [O]: the product is what moves
            the network; a turn of A against B that leaves it alone is free.
    """

    strength: float = Field(1.0, ge=0)
    anchor: Literal["factors", "product"] = "product"


def after_step(run: Run, before: Params) -> None:
    """Project each factor, or each product."""
    if run.options.anchor == "factors":
        spd.hold(run, before, {name: torch.zeros_like(weight) for name, weight in run.weights.items()})
        return
    for name, b in run.weights.items():
        if name.endswith(".lora_B") and b.grad is not None:
            a = name.removesuffix("B") + "A"
            old = (before[a], before[name])
            b.copy_(project(old, (run.weights[a], b), b.grad, run.options.strength))


def project(
    before: tuple[Factors, Factors], after: tuple[Factors, Factors], gradient: Factors, strength: float
) -> Factors:
    """B of the projected product, by SPD with θ = BA and θ0 = 0.

    The gradient in W need not be known: for G = ∂L/∂W the gradient in B is G Aᵀ, so ⟨∂L/∂B, B⟩ = ⟨G, BA⟩. The
    product is shrunk through B, A stays [O]. A constant in front of BA drops out.

    Args:
        before: A and B before the optimiser's step; the blocks of a stacked weight make one product.
        after: A' and B' after it.
        gradient: ∂L/∂B before the step.
        strength: λ.

    Returns:
        B' (1 − λ r) where ⟨∂L/∂B, B⟩ > 0, else B'.
    """
    (old_a, old_b), (a, b) = before, after
    if not torch.vdot(gradient.flatten(), old_b.flatten()) > 0:
        return b
    return b * (1 - strength * spd.growth((old_b @ old_a).norm(), (b @ a).norm()))


METHOD = Method(
    name="lora-spd",
    summary="cross-entropy through low-rank adapters that decay where the descent turns back",
    reference="Tian et al. 2024 (2411.01713) with Hu et al. 2022 (2106.09685)",
    terms="A",
    trains=lora_ft.METHOD.trains,
    prepare=lora_ft.prepare,
    loss=ft.loss,
    after_step=after_step,
    options=Options,
    uses=frozenset({"lora"}),
)
