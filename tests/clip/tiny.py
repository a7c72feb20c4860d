"""A tiny CLIP in open_clip's list, once with GELU and once with QuickGELU."""

import json
from pathlib import Path

import open_clip
import torch

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
NAMES = {"geomlab-tiny": {}, "geomlab-tiny-quickgelu": {"quick_gelu": True}}


def register(folder: Path) -> None:
    for name, more in NAMES.items():
        (folder / f"{name}.json").write_text(json.dumps({**CONFIG, **more}))
    open_clip.add_model_config(folder)


def model(name: str = "geomlab-tiny", seed: int = 0) -> torch.nn.Module:
    """Randomly initialised, biases and norms included, so that no tensor is one that a fresh model has."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = open_clip.create_model(name)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()
