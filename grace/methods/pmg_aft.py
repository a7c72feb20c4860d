"""PMG-AFT: adversarial training guided by the pre-trained model (Wang et al. 2024, 2401.04350)."""

import torch
from pydantic import Field

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Scalar
from grace.batches import Batch
from grace.losses import divergences
from grace.method import Method
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `pmg-aft`; defaults as in the paper's sum without weights.

    Attributes:
        original: weight of KL(orig(x + δ) ‖ adv).
        clean: weight of KL(clean ‖ adv).
    """

    original: float = Field(1.0, ge=0)
    clean: float = Field(1.0, ge=0)


def prepare(run: Run) -> None:
    """Keep the start with its zero-shot head, which stays frozen."""
    run.model.add_zero_shot_head()
    run.keep_original()


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """CE(adv) + w_o KL(orig(x + δ) ‖ adv) + w_c KL(clean ‖ adv), softmax at temperature 1, means over the batch.

    adv and clean are the model's class probabilities at x + δ and x, orig the frozen start's. The official code sums
    both KL over the batch beside a mean CE, so its weights are n times ours for a batch of n [O]: ours do not change
    with the batch size. Gradients flow through adv and clean.
    """
    assert run.original is not None
    model, options = run.model, run.options
    attacked = run.craft_against(batch.images, batch.labels)
    adversarial = model.logits(attacked)
    terms = {"adversarial": cross_entropy(adversarial, batch.labels).mean()}
    if options.original:
        with torch.no_grad():
            guide = run.original.logits(attacked)
        terms["kl_original"] = options.original * divergences(guide, adversarial).mean()
    if options.clean:
        terms["kl_clean"] = options.clean * divergences(model.logits(batch.images), adversarial).mean()
    return terms


METHOD = Method(
    name="pmg-aft",
    summary="cross-entropy of attacked images, held to the start's and to clean images' probabilities, image tower",
    reference="Wang et al. 2024 (2401.04350)",
    terms="C",
    trains=r"^visual\.",
    prepare=prepare,
    loss=loss,
    options=Options,
    uses=frozenset({"attack"}),
)
