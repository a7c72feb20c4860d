"""Contrastive pretraining of both towers from scratch."""

import math

import torch
from pydantic import Field, field_validator

from geomlab.architectures import Labels
from geomlab.typing import Images, Scalar
from grace.batches import Batch
from grace.losses import contrastive
from grace.method import Method
from grace.model import Model
from grace.run import Run
from grace.settings import Strict

_LOG_MAX_SCALE = math.log(100)  # Radford et al. 2021, section 2.5


class Options(Strict):
    """Options of `clip`.

    Attributes:
        caption: what an image's own caption says, with `{domain}` (blanks for underscores) and `{name}`; None draws one
            of the data's templates.
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


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """The two directions of the contrastive loss of images and their captions."""
    captions = write_captions(run.model.labels, batch, run.options, run.rng("loss"))
    return contrast(run.model, batch.images, captions, equal=True)


def contrast(model: Model, images: Images, captions: list[str], *, equal: bool) -> dict[str, Scalar]:
    """Half of each direction of the contrastive loss.

    Args:
        model: both towers and the scale, which is capped.
        images: (n, C, H, W) in [0, 1].
        captions: n texts.
        equal: whether images with an equal caption are positives of each other; else each has its own alone.
    """
    different = sorted(set(captions))
    which = torch.tensor([different.index(caption) for caption in captions], device=images.device)
    texts = model.embed_texts(different)[which]
    scale = model.clip.logit_scale.clamp(max=_LOG_MAX_SCALE).exp()
    positives = which if equal else torch.arange(len(which), device=images.device)
    to_text, to_image = contrastive(model.embed(images), texts, positives, scale)
    return {"image_to_text": to_text / 2, "text_to_image": to_image / 2}


def write_captions(labels: Labels, batch: Batch, options: Options, rng: torch.Generator) -> list[str]:
    """One caption an image."""
    templates = labels.templates
    own = options.caption
    drawn = torch.randint(len(templates), (len(batch.labels),), generator=rng).tolist()
    random = torch.rand(len(batch.labels), generator=rng) < (1.0 if own is None else options.any_template)
    captions = []
    for i, (label, domain) in enumerate(zip(batch.labels.tolist(), batch.domains, strict=True)):
        name = labels.classes[label]
        if own is None or random[i]:
            captions.append(templates[drawn[i]].replace("{}", name))
        else:
            captions.append(own.replace("{domain}", domain.replace("_", " ")).replace("{name}", name))
    return captions


METHOD = Method(
    name="clip",
    summary="contrastive pretraining of both towers from scratch; gives the zero-shot model",
    reference="Radford et al. 2021 (2103.00020); equal captions as in UniCL (2204.03610)",
    terms="",
    trains=r"^(?!head\.)",
    loss=loss,
    options=Options,
    uses=frozenset({"architecture"}),
)
