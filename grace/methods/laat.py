"""LAAT on CLIP, an adaptation [O]: expanded text anchors and a cosine TRADES loss (Li et al. 2023, 2301.13096).

The paper trains an image classifier from scratch towards fixed anchors of a text encoder. Here the image tower of the
CLIP that gives the anchors is fine-tuned towards them; the loss below is ours in its scale and its weight.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Float, Scalar
from grace.batches import Batch
from grace.losses import cosine_distances
from grace.method import Method
from grace.methods.fare import require_random_start
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `laat`.

    Attributes:
        beta: β. Default [O]: TRADES' 6 (Zhang et al. 2019, 1901.08573).
    """

    beta: float = Field(6.0, ge=0)


def prepare(run: Run) -> None:
    """The head is the expanded anchors: trained against, attacked, written, and so used at test time. It is frozen."""
    require_random_start(run)
    run.model.set_head(expand(run.model.zero_shot_weight()))


def expand(anchors: Float[Tensor, "classes dim"]) -> Float[Tensor, "classes dim"]:
    """Anchors without the direction that all have in common, each as long as it was.

    â_c ∝ a_c − ⟨a_c, m⟩ m, m the normalised mean of all a_c. Text embeddings of CLIP lie in a narrow cone; what
    tells classes apart is what is left [O: the paper's expansion serves the same end].

    Args:
        anchors: (C, dim) of equal length.
    """
    common = F.normalize(anchors.mean(dim=0), dim=0)
    rest = anchors - torch.outer(anchors @ common, common)
    expanded: Tensor = F.normalize(rest, dim=1) * anchors.norm(dim=1, keepdim=True)
    return expanded


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """CE(s⟨f(x), â_c⟩, y) + β max_δ (1 − cos(f(x), f(x + δ))), means over the batch.

    f are image embeddings, â_c the expanded anchors, s the logit scale [O]. As in TRADES the attack raises the second
    term itself, between features of the network as it is attacked, so it begins at a random point: at δ = 0 its
    gradient is zero.
    """
    model = run.model
    clean = model.embed(batch.images)
    fixed = clean.detach()
    if model.normalises_by_batch:  # the network is another one under attack, in eval mode say
        fixed = run.under_attack(lambda: model.embed(batch.images)).detach()
    attacked = run.craft(batch.images, lambda images: cosine_distances(model.embed(images), fixed))
    distances = cosine_distances(clean, model.embed(attacked))
    return {
        "task": cross_entropy(model.classify(clean), batch.labels).mean(),
        "distance": run.options.beta * distances.mean(),
    }


METHOD = Method(
    name="laat",
    summary="cross-entropy on expanded text anchors, attacked images held to clean ones by cosine; adapted to CLIP",
    reference="Li et al. 2023 (2301.13096)",
    terms="C",
    trains=r"^visual\.",
    prepare=prepare,
    loss=loss,
    options=Options,
    uses=frozenset({"attack"}),
)
