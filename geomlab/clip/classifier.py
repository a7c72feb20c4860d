"""The classifier that a CLIP's image tower and a head make."""

from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab.clip.encoding import encode_texts, without_padding
from geomlab.clip.tokens import Tokenizer
from geomlab.errors import UserError
from geomlab.typing import Features, Float, Images, Logits


def checked_head(head: Tensor, config: Mapping[str, Any] | None, name: str) -> Float[Tensor, "classes dim"]:
    """The trained head of a checkpoint, (classes, dim), dim that of the embeddings.

    Args:
        head: as read.
        config: one that `build` takes; empty or None for a model name.
        name: of the model, in open_clip's list.

    Raises:
        UserError: if it is no such matrix of floating-point numbers.
    """
    dim = (config or open_clip.get_model_config(name))["embed_dim"]
    if head.ndim != 2 or head.shape[1] != dim or not head.is_floating_point():
        kind = str(head.dtype).removeprefix("torch.")
        raise UserError(
            f"head.weight is {kind} {tuple(head.shape)}, expected floating-point numbers (classes, {dim}); "
            "write the head anew, or leave it out for the zero-shot head"
        )
    return head


def text_state(model: Any) -> dict[str, Tensor]:
    """What a zero-shot head is computed with: the state_dict without the image tower."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("visual.")}


@torch.no_grad()
def zero_shot_head(
    model: Any, tokenize: Tokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "classes dim"]:
    """Class weights: normalised mean of normalised template embeddings, times the logit scale.

    This is open_clip's `build_zero_shot_classifier` with the scale folded in (Radford et al. 2021, 3.1.4).

    Args:
        model: a CLIP.
        tokenize: its tokenizer.
        classes: C class names.
        templates: texts in which `{}` stands for the class name.
    """
    device = model.logit_scale.device
    rows = []
    for name in classes:
        tokens = tokenize([template.replace("{}", name) for template in templates]).to(device)
        mean = F.normalize(encode_texts(model, without_padding(model, tokens)), dim=-1).mean(dim=0)
        rows.append(F.normalize(mean, dim=-1))
    scale: Tensor = model.logit_scale.exp()
    return torch.stack(rows) * scale


class ClipClassifier(nn.Module):
    """The image tower of a CLIP and a linear head on its normalised features.

    Args:
        visual: the image tower, normalised images -> (n, dim).
        head: (C, dim) class weights, the logit scale folded in.
        bias: (C,) of the head, where it has one.
    """

    def __init__(
        self,
        visual: nn.Module,
        head: Float[Tensor, "classes dim"],
        bias: Float[Tensor, " classes"] | None = None,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(head.shape[1], head.shape[0], bias=bias is not None)
        self.head.weight = nn.Parameter(head.clone())
        if bias is not None:
            self.head.bias = nn.Parameter(bias.to(head.dtype, copy=True))

    def embed(self, images: Images) -> Features:
        """What feeds the head: ℓ2-normalised image embeddings (n, dim)."""
        return F.normalize(self.visual(images), dim=-1)

    def forward(self, images: Images) -> Logits:
        """Logits (n, C)."""
        logits: Tensor = self.head(self.embed(images))
        return logits
