"""Which of open_clip's models a state_dict may be of, by the shapes of its tensors. Nothing is built."""

from collections.abc import Mapping, Sequence
from typing import Any

import open_clip

from geomlab.clip.forms import ClipWeights

Shape = Sequence[int]


def names(weights: ClipWeights) -> list[str]:
    """Models of the list whose towers have these widths, depths and sizes; those with QuickGELU alone where known.

    Only of plain ViT towers. GELU and QuickGELU have the same tensors: both are named where nobody says which.

    Args:
        weights: a CLIP's, or those of an image tower.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    found = [
        name
        for name in open_clip.list_models()
        if _fits(open_clip.get_model_config(name), shapes, weights.text)
    ]
    return [
        name for name in found if not weights.openai or open_clip.get_model_config(name).get("quick_gelu")
    ]


def _fits(config: Mapping[str, Any], shapes: Mapping[str, Shape], text: bool) -> bool:
    vision, words = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config or "patch_size" not in vision or not isinstance(vision.get("layers"), int):
        return False
    patch, width, size = vision["patch_size"], vision["width"], vision["image_size"]
    if not isinstance(size, int):
        return False
    wanted = {
        "visual.conv1.weight": (width, 3, patch, patch),
        "visual.positional_embedding": ((size // patch) ** 2 + 1, width),
        "visual.proj": (width, config["embed_dim"]),
    }
    under = "text." if config.get("custom_text") else ""
    if text and "hf_model_name" not in words:
        wanted[f"{under}token_embedding.weight"] = (words.get("vocab_size", 49408), words["width"])
        wanted[f"{under}positional_embedding"] = (words.get("context_length", 77), words["width"])
    return all(shapes.get(name) == shape for name, shape in wanted.items()) and (
        vision["layers"] == _depth(shapes, "visual.transformer.resblocks.")
        and (not text or words.get("layers") == _depth(shapes, f"{under}transformer.resblocks."))
    )


def _depth(shapes: Mapping[str, Shape], before: str) -> int:
    return len({name.removeprefix(before).partition(".")[0] for name in shapes if name.startswith(before)})
