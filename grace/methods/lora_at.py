"""Adversarial training through adapters, clean and attacked images alike: the baseline that GRACE adds its terms to."""

import torch

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method
from grace.methods import lora_ft
from grace.run import Run


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """CE(clean) + CE(adversarial), means over the batch [O]: GRACE without perturbed weights and Gram volume.

    Both go through the network as one batch, which takes less time than two and is the same: whatever trains are
    adapters, so a batch norm normalises by its running statistics.
    """
    attacked = run.craft_against(batch.images, batch.labels)
    logits = run.model.logits(torch.cat([batch.images, attacked]))
    clean, adversarial = cross_entropy(logits, batch.labels.repeat(2)).chunk(2)
    return {"clean": clean.mean(), "adversarial": adversarial.mean()}


METHOD = Method(
    name="lora-at",
    summary="cross-entropy of clean and of attacked images through low-rank adapters, the zero-shot head frozen",
    reference="Madry et al. 2018 (1706.06083) with Hu et al. 2022 (2106.09685)",
    terms="A",
    trains=lora_ft.METHOD.trains,
    prepare=lora_ft.prepare,
    loss=loss,
    uses=frozenset({"attack", "lora"}),
)
