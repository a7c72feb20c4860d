"""The text side of a CLIP, kept for features of texts."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from open_clip.model import CLIP
from torch import nn

from geomlab.clip.huggingface import TwoTowers
from geomlab.clip.tokens import Tokenizer

PROMPTS = 1000  # texts of which the text side's features are taken; of more classes one each: ours


@dataclass(frozen=True, eq=False)
class TextTower:
    """The text side of a CLIP, for features of texts; evaluated where its weights are.

    Attributes:
        model: a CLIP of open_clip, or one of transformers, of which the image tower is not used.
        tokenize: its tokenizer.
        classes: C class names.
        templates: texts in which `{}` stands for the class name.
    """

    model: CLIP | TwoTowers
    tokenize: Tokenizer
    classes: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: CLIP | TwoTowers,
        tokenize: Tokenizer,
        classes: Sequence[str],
        templates: Sequence[str],
    ) -> "TextTower":
        """A copy of a CLIP without its image tower."""
        image, model.visual = model.visual, nn.Identity()
        try:
            text = deepcopy(model).eval().requires_grad_(False)
        finally:
            model.visual = image
        return cls(text, tokenize, tuple(classes), tuple(templates))

    def prompts(self, most: int = PROMPTS) -> list[str]:
        """Every class in each of the first templates, at least one, of which there are at most so many texts."""
        chosen = self.templates[: max(1, most // len(self.classes))]
        return [template.replace("{}", name) for template in chosen for name in self.classes]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "TextTower":
        """A copy on another device or of another precision."""
        return replace(self, model=deepcopy(self.model).to(device, dtype))
