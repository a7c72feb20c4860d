"""Embeddings of texts, without the padding that none of them depends on.

OpenAI's text tower is causal and gives what it makes of the end of the text. So what follows that, most of the 77
tokens of a class name in a template, changes nothing, and costs a ViT-B/32 five times as much as the text itself
(benchmarks/sums.py).
"""

from typing import Any

from open_clip.model import CLIP
from torch import Tensor, nn
from torch.func import functional_call

from geomlab.clip.huggingface import TwoTowers
from geomlab.typing import Features, Int

# Of open_clip's CLIP: a row for each token, a row and a column for each.
_PLACES, _MASK = "positional_embedding", "attn_mask"


def without_padding(model: Any, tokens: Int[Tensor, "n context"]) -> Int[Tensor, "n shorter"]:
    """The tokens up to the last that any text's embedding depends on; all of them where that is not known.

    Args:
        model: a CLIP.
        tokens: of its tokenizer.
    """
    if not _causal(model) or (ends := ends_of(model, tokens)) is None:
        return tokens
    return tokens[:, : int(ends.max()) + 1]


def ends_of(model: Any, tokens: Int[Tensor, "n context"]) -> Int[Tensor, " n"] | None:
    """Where each text ends; None of a tower that does not pool there."""
    kind, end = model.text_pool_type, getattr(model, "text_eos_id", None)
    if kind not in ("argmax", "eos"):
        return None
    return (tokens if kind == "argmax" or end is None else tokens.eq(end).int()).argmax(1)


def encode_texts(model: Any, tokens: Int[Tensor, "n some"]) -> Features:
    """Embeddings (n, dim), not normalised, as the model's `encode_text` gives of texts of its full context.

    Args:
        model: a CLIP.
        tokens: of its tokenizer, or what `without_padding` leaves of them.
    """
    length = tokens.shape[1]
    if not isinstance(model, CLIP) or not _causal(model) or length >= model.context_length:
        embedded: Tensor = model.encode_text(tokens)
        return embedded
    shorter = {_PLACES: model.positional_embedding[:length], _MASK: model.attn_mask[:length, :length]}
    swapped = {f"model.{name}": tensor for name, tensor in shorter.items()}
    found: Tensor = functional_call(_Texts(model), swapped, (tokens,))
    return found


def _causal(model: Any) -> bool:
    """Whether no token sees a later one, and there is a place for each token and for nothing else."""
    if isinstance(model, CLIP):
        return model.attn_mask is not None and len(model.positional_embedding) == model.context_length
    return isinstance(model, TwoTowers)


class _Texts(nn.Module):
    """A CLIP called with texts."""

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.model.encode_text(tokens)
        return embedded
