"""FARE: attacked images keep the embedding that clean ones had before (Schlarmann et al. 2024, 2402.12336)."""

import torch

from geomlab.data.attacks.losses import squared_distances
from geomlab.errors import UserError
from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method
from grace.run import Run


def prepare(run: Run) -> None:
    """Keep φ_orig; the head, which no loss sees, is the zero-shot head."""
    require_random_start(run)
    run.model.add_zero_shot_head()
    run.keep_original()


def require_random_start(run: Run) -> None:
    """Refuse an attack on a distance that begins where the distance is zero, and so is its gradient.

    Raises:
        UserError: if `attack.start` is `clean`.
    """
    if run.attack.start != "random":
        raise UserError(
            f"{run.recipe.method}: its attack has no gradient at the clean image; set attack.start=random"
        )


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean over images of max_δ ‖φ(x + δ) − φ_orig(x)‖², embeddings not normalised, no labels (eq. 3).

    The attack raises the same distance by plain signed steps; the official code's steps have momentum 0.9.
    """
    assert run.original is not None
    model = run.model
    with torch.no_grad():
        target = run.original.encode(batch.images)
    attacked = run.craft(batch.images, lambda images: squared_distances(model.encode(images), target))
    return {"distance": squared_distances(model.encode(attacked), target).mean()}


METHOD = Method(
    name="fare",
    summary="embeddings of attacked images held to the start's of clean ones, image tower, no labels",
    reference="Schlarmann et al. 2024 (2402.12336)",
    terms="C",
    trains=r"^visual\.",
    prepare=prepare,
    loss=loss,
    uses=frozenset({"attack"}),
)
