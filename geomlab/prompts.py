"""Prompt tokens of an image tower: learnt tokens after the patches (Jia et al. 2022, 2203.12119, VPT-shallow)."""

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from geomlab.errors import UserError
from geomlab.typing import Float

NAME = "prompts"
"""Of the parameter in the module they follow, `visual.ln_pre.prompts`, and of the config's key for their number."""


def add(visual: nn.Module, tokens: Float[Tensor, "count width"]) -> None:
    """Let tokens follow the patches into the first block of an open_clip ViT.

    They come after the norm before the blocks, `ln_pre`, whose parameters keep their names. The class token stays
    first, and it is what is pooled; a tower that averages its tokens averages the prompts too.

    Args:
        visual: the image tower.
        tokens: what they begin as.

    Raises:
        UserError: if the tower is no such ViT, or has prompts already.
    """
    norm = _vit(visual).ln_pre
    if NAME in dict(norm.named_parameters()):
        raise UserError("the image tower has prompt tokens already; start from the model without them")
    norm.register_parameter(NAME, nn.Parameter(tokens.detach().clone()))
    norm.register_forward_hook(_append)


def width(visual: nn.Module) -> int:
    """Entries of a token.

    Raises:
        UserError: if the tower is no open_clip ViT.
    """
    return int(_vit(visual).conv1.out_channels)


def _vit(visual: nn.Module) -> VisionTransformer:
    if not isinstance(visual, VisionTransformer):
        raise UserError(
            f"prompt tokens need open_clip's own ViT, got a {type(visual).__name__}; start from ViT-B-32, say"
        )
    return visual


def _append(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    tokens: Tensor = getattr(norm, NAME)  # not get_parameter: functional calls put plain tensors in its place
    tokens = tokens.to(output.dtype)  # half under autocast
    return torch.cat([output, tokens.expand(len(output), -1, -1)], dim=1)
