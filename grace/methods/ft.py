"""Vanilla fine-tuning: cross-entropy, image tower and head."""

import torch
from torch.nn import functional as F

from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method, NoOptions
from grace.model import Model


def loss(model: Model, batch: Batch, options: NoOptions, rng: torch.Generator) -> dict[str, Scalar]:
    """Mean cross-entropy of the head's logits."""
    return {"cross_entropy": F.cross_entropy(model.logits(batch.images), batch.labels)}


METHOD = Method(
    name="ft",
    summary="vanilla fine-tuning: cross-entropy, image tower and head, the head begun from zero-shot",
    reference="Wortsman et al. 2022 (2109.01903)",
    terms="",
    trains=r"^(visual|head)\.",
    prepare=Model.add_zero_shot_head,
    loss=loss,
)
