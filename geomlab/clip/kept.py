"""Zero-shot heads kept on disk: of 1,000 classes and 80 templates one takes 80,000 texts through the text tower."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from geomlab import files, params
from geomlab.clip.classifier import text_state, zero_shot_head
from geomlab.clip.tokens import Tokenizer
from geomlab.typing import Float

VARIABLE = "GEOMLAB_CACHE"
"""Environment variable of the folder; empty keeps nothing."""
FORMAT = 2  # to be raised when the head of the same input is another


def kept_head(
    model: Any, tokenize: Tokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "classes dim"]:
    """`zero_shot_head`, from the disk where it was made before of the same text tower, tokens and scale.

    A file that is damaged is as good as none, and is written anew; a folder that cannot be written is no matter.

    Args:
        model: a CLIP.
        tokenize: its tokenizer.
        classes: C class names.
        templates: texts in which `{}` stands for the class name.
    """
    folder = cache()
    if folder is None:
        return zero_shot_head(model, tokenize, classes, templates)
    digest = _digest(model, tokenize, classes, templates)
    path = folder / "zero-shot" / f"{digest}.safetensors"
    head = _read(path, len(classes))
    if head is None:
        head = zero_shot_head(model, tokenize, classes, templates)
        with contextlib.suppress(OSError):
            files.replace(path, save({"head": head.cpu().contiguous(), "check": _check(head)}))
    return head.to(model.logit_scale.device)


def cache() -> Path | None:
    """The user's cache: `GEOMLAB_CACHE`, else `geomlab` in `XDG_CACHE_HOME` or `~/.cache`; None where it is empty."""
    own = os.environ.get(VARIABLE)
    if own is not None:
        return Path(own).expanduser() if own else None
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "geomlab"


def _digest(model: Any, tokenize: Tokenizer, classes: Sequence[str], templates: Sequence[str]) -> str:
    """Of all that a head depends on: the tokens stand for the tokenizer, the classes and the templates."""
    parts = [
        tokenize([template.replace("{}", name) for template in templates]).cpu().numpy().tobytes()
        for name in classes
    ]
    tokens = hashlib.sha256()
    for part in parts:
        tokens.update(hashlib.sha256(part).digest())
    text = [name for name, _ in model.named_modules() if not name.startswith("visual")]
    structure = [[name, repr(model.get_submodule(name))] for name in text if name and "." not in name]
    described = [FORMAT, params.digest(text_state(model)), tokens.hexdigest(), structure]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _read(path: Path, classes: int) -> Tensor | None:
    try:
        found = load(path.read_bytes())
        head, check = found["head"], found["check"]
    except Exception:  # a damaged file fails in any way
        return None
    whole = head.ndim == 2 and len(head) == classes and torch.equal(check, _check(head))
    return head if whole else None


def _check(head: Tensor) -> Tensor:
    content = params.digest({"head": head.cpu()})
    return torch.tensor(list(bytes.fromhex(content)), dtype=torch.uint8)
