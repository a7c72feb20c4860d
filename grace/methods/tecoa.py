"""TeCoA: adversarial training of the image tower against the frozen zero-shot head (Mao et al. 2023, 2212.07016)."""

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method
from grace.run import Run


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean cross-entropy of attacked images, the attack raising the same."""
    attacked = run.craft_against(batch.images, batch.labels)
    return {"adversarial": cross_entropy(run.model.logits(attacked), batch.labels).mean()}


METHOD = Method(
    name="tecoa",
    summary="cross-entropy of attacked images, image tower, the zero-shot head frozen",
    reference="Mao et al. 2023 (2212.07016)",
    terms="",
    trains=r"^visual\.",
    prepare=lambda run: run.model.add_zero_shot_head(),
    loss=loss,
    uses=frozenset({"attack"}),
)
