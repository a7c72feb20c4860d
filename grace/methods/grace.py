"""GRACE: LoRA, layer-adaptive low-rank adversarial weight perturbation, Gram-volume alignment (2603.27139).

METHOD.md, section 2, has the equations; the parts are grace/lora.py (term A), awp.py and curriculum.py (B), and
gram.py (C). Every row of the paper's Table 8 is a switch: `lambda_lar = 0` and `lambda_gv = 0` leave LoRA alone,
`lambda_lar = 0` LoRA and the Gram volume, `lambda_gv = 0` LoRA and LAR-AWP; `curriculum = false` gives every layer the
largest rank.
"""

import torch
from pydantic import Field
from torch import Tensor

from geomlab.data.attacks.losses import cross_entropy
from geomlab.errors import NotFinite
from geomlab.typing import Params, Scalar
from grace import awp, curriculum, lora
from grace.batches import Batch
from grace.gram import gram_volume
from grace.method import Method
from grace.methods import lora_ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `grace`.

    Attributes:
        lambda_lar: weight of L_LAR-AWP; 0 leaves it out. Default [O].
        lambda_gv: weight of L_GV; 0 leaves it out. Default [O].
        curriculum: whether ranks follow the curvature; else every layer has the largest.
        max_rank: the largest rank of a layer's perturbation [n].
        percentile: layers at or above it get the largest rank, at or below its mirror image none [n].
        rho: ‖Δ_W‖_F ≤ ρ ‖W‖_F. Default [O].
        steps: ascent steps of the inner maximum. Default [O].
        step: length of one, in radii of the ball. Default [O].
        interval: steps between updates of the ranks; None scales it to the run.
        decay: β of the curvature's average, in [0.85, 0.95] [n].
        gram_eps: ε of the Gram matrix. Default [O].
    """

    lambda_lar: float = Field(1.0, ge=0)
    lambda_gv: float = Field(1.0, ge=0)
    curriculum: bool = True
    max_rank: int = Field(4, ge=1)
    percentile: float = Field(80.0, ge=50, le=100)
    rho: float = Field(0.05, gt=0)
    steps: int = Field(1, ge=1)
    step: float = Field(1.0, gt=0)
    interval: int | None = Field(None, ge=1)
    decay: float = Field(0.9, ge=0, lt=1)
    gram_eps: float = Field(1e-6, gt=0)


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """L = L_task + λ_LAR L_LAR-AWP + λ_GV L_GV (Eq. 4, Algorithm 1) [N]."""
    options, model = run.options, run.model
    clean = model.embed(batch.images)
    terms = {"task": cross_entropy(model.classify(clean), batch.labels).mean()}
    if not (options.lambda_lar or options.lambda_gv):
        return terms
    attacked = run.craft_against(batch.images, batch.labels)
    ranks = choose_ranks(run, batch)
    adversarial, perturbed = perturb(run, attacked, batch.labels, ranks)
    if options.lambda_lar:
        worst = cross_entropy(model.classify(perturbed), batch.labels).mean()
        terms["lar_awp"] = options.lambda_lar * worst
    if options.lambda_gv:
        volumes = gram_volume(clean, adversarial, perturbed, eps=options.gram_eps)
        terms["gram_volume"] = options.lambda_gv * volumes.mean().to(clean.dtype)
    return terms


def perturb(run: Run, attacked: Tensor, labels: Tensor, ranks: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Features of attacked images at the weights, and under their worst perturbation (Eq. 7) [N].

    The pass at Δ = 0 serves both: its features are f_adv, and its loss gives the first ascent step.

    Args:
        run: the run.
        attacked: (n, C, H, W) images x + δ.
        labels: (n,) classes.
        ranks: of each layer's perturbation.

    Returns:
        Normalised features (n, dim) under W(θ), and under W_pert(θ, Δ).
    """
    model, options = run.model, run.options
    base = lora.base_weights(model.clip)
    with torch.no_grad():
        whole = lora.merged_weights(model.clip)
    low_rank = awp.branches(whole, ranks, rho=options.rho, rng=run.rng("awp"))

    def embed(branches: dict[str, awp.Branch]) -> Tensor:
        return run.at(awp.perturbed(base, branches), lambda: model.embed(attacked))

    adversarial = features = embed(low_rank)
    for i in range(options.steps):
        inner = cross_entropy(model.classify(features), labels).mean()
        low_rank = awp.climb(low_rank, inner, step=options.step, keep_graph=i == 0)
        features = embed(low_rank)
    return adversarial, features


def choose_ranks(run: Run, batch: Batch) -> dict[str, int]:
    """The rank of each layer's perturbation, by the curvature's average, which is updated every so many steps.

    It is of held-back samples [n], or of the step's batch where none are held back [O].
    """
    options = run.options
    names = list(lora.base_weights(run.model.clip))
    if not options.curriculum:
        return dict.fromkeys(names, options.max_rank)
    every = options.interval or curriculum.interval(run.steps)
    if run.part == 0 and run.step % every == 0:
        held_back = (
            batch if run.validation is None else run.validation.batch(run.step // every).to(run.device)
        )
        found = curriculum.curvature(list(gradients(run, held_back).values()), len(held_back.labels))
        if not found.isfinite().all():
            raise NotFinite("the curvature of held-back samples is not finite")
        run.memory["curvature"] = curriculum.smoothed(run.memory.get("curvature"), found, options.decay)
    chosen = curriculum.ranks(run.memory["curvature"], options.max_rank, options.percentile)
    return dict(zip(names, chosen.tolist(), strict=True))


def gradients(run: Run, batch: Batch) -> Params:
    """Of the cross-entropy of clean images [O], in every layer's whole weight W(θ)."""
    base = {
        name: weight.detach().requires_grad_(True)
        for name, weight in lora.base_weights(run.model.clip).items()
    }
    loss = run.at(base, lambda: cross_entropy(run.model.logits(batch.images), batch.labels).mean())
    return dict(zip(base, torch.autograd.grad(loss, list(base.values())), strict=True))


METHOD = Method(
    name="grace",
    summary="LoRA, layer-adaptive low-rank adversarial weight perturbation, Gram-volume alignment",
    reference="2603.27139",
    terms="ABC",
    trains=r"\.lora_[AB]$",
    prepare=lora_ft.prepare,
    loss=loss,
    options=Options,
    uses=frozenset({"attack", "lora"}),
)
