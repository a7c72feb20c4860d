"""A CLIP or SigLIP of transformers as the two towers that open_clip's models have."""

from typing import Any

import torch
from torch import Tensor, nn

from geomlab.typing import Features, Images, Int

_LEGACY_END = 2  # CLIPs of transformers before 4.31 say so of any tokenizer, and pool at the largest token


class ImageTower(nn.Module):
    """Normalised images -> embeddings (n, dim), not normalised, under transformers' names.

    Args:
        model: the vision model.
        projection: of what it pools; SigLIP has none.
    """

    def __init__(self, model: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.vision_model = model
        self.visual_projection = nn.Identity() if projection is None else projection

    def forward(self, images: Images) -> Features:
        """Embeddings of images."""
        pooled: Tensor = self.visual_projection(self.vision_model(pixel_values=images).pooler_output)
        return pooled


class TextSide(nn.Module):
    """Tokens -> embeddings (n, dim), not normalised.

    There is no attention mask: in CLIP no token sees a later one, and padding is after the end; SigLIP was trained
    with texts that are padded to their full length, and pools at the last token.

    Args:
        model: the text model.
        projection: of what it pools; SigLIP's is in its model.
    """

    def __init__(self, model: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.projection = nn.Identity() if projection is None else projection

    def forward(self, tokens: Int[Tensor, "n context"]) -> Features:
        """Embeddings of texts."""
        pooled: Tensor = self.projection(self.model(input_ids=tokens).pooler_output)
        return pooled

    def extra_repr(self) -> str:
        """What no weight and no submodule shows, and the digest of a kept head has to hold."""
        config: Any = self.model.config
        return f"heads={config.num_attention_heads}, end={config.eos_token_id}"


class TwoTowers(nn.Module):
    """A model of transformers with the parts of a CLIP of open_clip that geomlab uses. It shares the model's weights.

    Args:
        model: a `CLIPModel` or a `SiglipModel`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        image, text = (getattr(model, f"{side}_projection", None) for side in ("visual", "text"))
        self.visual: nn.Module = ImageTower(model.vision_model, image)
        self.text = TextSide(model.text_model, text)
        self.logit_scale: nn.Parameter = model.logit_scale
        self.logit_bias: nn.Parameter | None = getattr(model, "logit_bias", None)
        self.dim: int = (
            model.config.projection_dim if image is not None else model.config.vision_config.hidden_size
        )
        end = model.config.text_config.eos_token_id
        self.text_eos_id: int | None = None if end == _LEGACY_END or self.logit_bias is not None else end
        pools_at_end = "argmax" if self.text_eos_id is None else "eos"
        self.text_pool_type = pools_at_end if self.logit_bias is None else "last"

    def encode_text(self, tokens: Int[Tensor, "n context"]) -> Features:
        """Embeddings of texts (n, dim), not normalised."""
        embedded: Tensor = self.text(tokens)
        return embedded

    def bias(self, classes: int) -> Tensor | None:
        """What SigLIP adds to every logit, one number a class; None of a CLIP."""
        if self.logit_bias is None:
            return None
        return torch.full((classes,), self.logit_bias.item(), dtype=self.logit_bias.dtype)
