"""Contrastive pretraining of both towers from scratch."""

import math

import torch
from pydantic import Field, field_validator
from torch.nn import functional as F

from geomlab.typing import Features, Float, Int, Scalar
from grace.batches import Batch
from grace.method import Method, Strict
from grace.model import Model

_LOG_MAX_SCALE = math.log(100)  # Radford et al. 2021, section 2.5


class Options(Strict):
    """Options of `clip`.

    Attributes:
        caption: what an image's own caption says, with `{domain}` and `{name}`; None draws one of the data's
            templates.
        any_template: share of the images that are captioned by a random template instead.
    """

    caption: str | None = None
    any_template: float = Field(0.0, ge=0, le=1)

    @field_validator("caption")
    @classmethod
    def _has_known_fields(cls, caption: str | None) -> str | None:
        rest = (caption or "").replace("{domain}", "").replace("{name}", "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"only {{domain}} and {{name}} may stand in braces; got '{caption}'")
        return caption


def loss(model: Model, batch: Batch, options: Options, rng: torch.Generator) -> dict[str, Scalar]:
    """The two directions of the contrastive loss of images and their captions."""
    captions = write_captions(model, batch, options, rng)
    different = sorted(set(captions))
    which = torch.tensor([different.index(caption) for caption in captions], device=batch.labels.device)
    texts = model.embed_texts(different)[which]
    scale = model.clip.logit_scale.clamp(max=_LOG_MAX_SCALE).exp()
    to_text, to_image = contrastive(model.embed(batch.images), texts, which, scale)
    return {"image_to_text": to_text / 2, "text_to_image": to_image / 2}


def contrastive(
    images: Features, texts: Features, captions: Int[torch.Tensor, "n"], scale: Scalar
) -> tuple[Scalar, Scalar]:
    """InfoNCE where equal captions count as positives (UniCL, 2204.03610, eq. 2-4).

    With s_ij = scale·⟨x_i, t_j⟩ and P(i) the samples captioned as i, the first direction is
    −1/n Σ_i 1/|P(i)| Σ_{j∈P(i)} log softmax_j(s_i·); the second is the same over columns. Where all captions
    differ this is CLIP's loss.

    Args:
        images: (n, dim) normalised.
        texts: (n, dim) normalised, of each image's caption.
        captions: (n,) equal numbers for equal captions.
        scale: what similarities are multiplied by.
    """
    logits = scale * images @ texts.T
    positive: Float[torch.Tensor, "n n"] = (captions[:, None] == captions[None, :]).to(logits.dtype)
    target = positive / positive.sum(dim=1, keepdim=True)  # symmetric, so it serves both directions
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)


def write_captions(model: Model, batch: Batch, options: Options, rng: torch.Generator) -> list[str]:
    """One caption an image."""
    templates = model.labels.templates
    own = options.caption
    drawn = torch.randint(len(templates), (len(batch.labels),), generator=rng).tolist()
    random = torch.rand(len(batch.labels), generator=rng) < (1.0 if own is None else options.any_template)
    captions = []
    for i, (label, domain) in enumerate(zip(batch.labels.tolist(), batch.domains, strict=True)):
        name = model.labels.classes[label]
        if own is None or random[i]:
            captions.append(templates[drawn[i]].replace("{}", name))
        else:
            captions.append(own.replace("{domain}", domain).replace("{name}", name))
    return captions


METHOD = Method(
    name="clip",
    summary="contrastive pretraining of both towers from scratch; gives the zero-shot model",
    reference="Radford et al. 2021 (2103.00020); equal captions as in UniCL (2204.03610)",
    terms="",
    trains=r"^(?!head\.)",
    prepare=lambda model: None,
    loss=loss,
    options=Options,
    from_scratch=True,
)
