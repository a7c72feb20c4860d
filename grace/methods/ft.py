"""Vanilla fine-tuning: cross-entropy, image tower and head."""

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method
from grace.run import Run


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean cross-entropy of the head's logits."""
    return {"cross_entropy": cross_entropy(run.model.logits(batch.images), batch.labels).mean()}


METHOD = Method(
    name="ft",
    summary="vanilla fine-tuning: cross-entropy, image tower and head, the head begun from zero-shot",
    reference="Wortsman et al. 2022 (2109.01903)",
    terms="",
    trains=r"^(visual|head)\.",
    prepare=lambda run: run.model.add_zero_shot_head(),
    loss=loss,
)
