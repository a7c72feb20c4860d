"""What a config from elsewhere may ask for: a few numbers in a small file can name a network that fills any memory."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import nn

LAYERS, NUMBERS = 1000, 20_000_000_000  # of a network, at most: ours
PROMPTS = 10_000  # tokens, at most: ours
# In place of an image tower of another library.
_SMALL = {"layers": 1, "width": 64, "image_size": 16, "patch_size": 16}


class TooLarge(ValueError):
    """A network beyond these."""


def check(layers: Iterable[int], build: Callable[[], nn.Module]) -> None:
    """Refuse a network that is larger than any there is.

    Args:
        layers: of each of its parts.
        build: makes it; it is made without memory.

    Raises:
        TooLarge: naming what is too large.
        Exception: whatever the constructor raises.
    """
    most = max(layers, default=0)
    if most > LAYERS:
        raise TooLarge(f"{most} layers")
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        made = build()
        count = sum(one.numel() for one in (*made.parameters(), *made.buffers()))
    if count > NUMBERS:
        raise TooLarge(f"{count:,} parameters")


def check_open_clip(config: Mapping[str, Any]) -> None:
    """`check` of the CLIP that a config of open_clip describes. Towers of other libraries are not made.

    Raises:
        TooLarge: naming what is too large.
        Exception: whatever open_clip's constructors raise.
    """
    theirs = [
        any(key.startswith(("hf_", "timm_")) for key in config[name]) for name in ("vision_cfg", "text_cfg")
    ]
    image = CLIPVisionCfg(**(_SMALL if theirs[0] else config["vision_cfg"]))
    text = CLIPTextCfg(**({"layers": 1} if theirs[1] else config["text_cfg"]))
    stages = image.layers if isinstance(image.layers, list | tuple) else [image.layers]
    check([*stages, text.layers], lambda: CLIP(config["embed_dim"], image, text))
