"""PMG-AFT through visual prompts: only tokens after the patches train (Jia et al. 2022; Wang et al. 2024)."""

import math

import torch
from pydantic import Field
from torch import Tensor

from geomlab import clip, prompts
from geomlab.rng import generator
from geomlab.spec import parse
from geomlab.typing import Float
from grace.method import Method
from grace.methods import pmg_aft
from grace.model import Model
from grace.run import Run


class Options(pmg_aft.Options):
    """Options of `vpt-pmg-aft`, and those of `pmg-aft`.

    Attributes:
        prompts: number of tokens, before the first block only (VPT-shallow). Default [O]: one a patch of ViT-B/32, of
            the 1 to 200 that Jia et al. try.
    """

    prompts: int = Field(49, ge=1)


def prepare(run: Run) -> None:
    """Keep the start, which has no prompts; then add them."""
    pmg_aft.prepare(run)
    add_prompts(run.model, run.options.prompts, generator(run.seed, "prompts"))


def add_prompts(model: Model, count: int, rng: torch.Generator) -> None:
    """Give the image tower prompt tokens, and say so in what its checkpoint says of itself.

    Raises:
        UserError: if the tower is no ViT of open_clip, or a checkpoint could not describe it.
    """
    visual, spec = model.clip.visual, parse(model.architecture["spec"])
    tokens = initial(count, prompts.width(visual), math.prod(visual.patch_size), rng)
    config = model.architecture["config"] or clip.config_of(spec.positional)
    prompts.add(visual, tokens.to(visual.conv1.weight))
    model.architecture = {"spec": "open_clip:custom", "config": {**config, prompts.NAME: count}}


def initial(count: int, width: int, pixels: int, rng: torch.Generator) -> Float[Tensor, "count width"]:
    """Tokens uniform in ±√(6/(3·pixels + width)), as Jia et al. draw them.

    Args:
        count: of the tokens.
        width: entries of one.
        pixels: of a patch.
        rng: a CPU generator.
    """
    bound = math.sqrt(6 / (3 * pixels + width))
    return bound * (2 * torch.rand(count, width, generator=rng) - 1)


METHOD = Method(
    name="vpt-pmg-aft",
    summary="PMG-AFT where only prompt tokens of the image tower train",
    reference="Wang et al. 2024 (2401.04350) with Jia et al. 2022 (2203.12119)",
    terms="AC",
    trains=r"^visual\.ln_pre\.prompts$",
    prepare=prepare,
    loss=pmg_aft.loss,
    options=Options,
    uses=frozenset({"attack"}),
)
