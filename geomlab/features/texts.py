"""Features of texts: those of a CLIP's text tower, layer by layer, as `extraction` takes those of images."""

from collections.abc import Sequence

import torch
from open_clip.transformer import text_global_pool
from torch import Tensor

from geomlab.clip import TextTower, encode_texts, ends_of, without_padding
from geomlab.errors import NotFinite, UserError
from geomlab.features.extraction import POOLINGS
from geomlab.subject import FEATURES
from geomlab.typing import Features, Float, Int

BLOCKS = ("transformer.resblocks", "text.model.encoder.layers")  # of open_clip, of transformers


@torch.no_grad()
def extract_texts(
    tower: TextTower,
    texts: Sequence[str],
    layers: Sequence[str] | None = None,
    *,
    pooling: str = "class",
    batch_size: int = 256,
) -> dict[str, Features]:
    """Layer -> (n, dim) on the CPU; then `features`, the embeddings in the space of the images', not normalised.

    Args:
        tower: the text side of a CLIP.
        texts: n of them.
        layers: submodules of it that give tokens (n, context, width); default the blocks of its transformer.
        pooling: with `class` the token counts that the tower itself takes (the end of the text in OpenAI's CLIP), with
            `mean` the tokens up to that one, of which later ones are padding (all where it is not the end), and with
            `none` all entries are kept, (n, context · width).
        batch_size: texts at a time.

    Raises:
        ValueError: if there is no text, or no such pooling.
        UserError: if a text cannot be tokenised, or a layer gives no tokens.
        NotFinite: if an activation is not.
    """
    if not texts or pooling not in POOLINGS:
        raise ValueError(
            f"expected texts, and a pooling of {', '.join(POOLINGS)}; got {len(texts)} and '{pooling}'"
        )
    named = dict(tower.model.named_modules())
    wanted = [name for name in named if name.rpartition(".")[0] in BLOCKS] if layers is None else list(layers)
    unknown = [name for name in wanted if name not in named]
    if unknown:
        raise UserError(f"the text tower has no layer {unknown[0]}; it has {', '.join(list(named)[1:9])}, …")
    seen: dict[str, Tensor] = {}
    handles = [
        named[name].register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
        for name in wanted
    ]
    device, parts = tower.model.logit_scale.device, []
    try:
        for start in range(0, len(texts), batch_size):
            tokens = tower.tokenize(texts[start : start + batch_size]).to(device)
            if pooling != "none":
                tokens = without_padding(tower.model, tokens)
            embedded = encode_texts(tower.model, tokens)
            pooled = {name: _pooled(tower, name, seen.get(name), tokens, pooling) for name in wanted}
            parts.append({name: part.cpu() for name, part in {**pooled, FEATURES: embedded}.items()})
    finally:
        for handle in handles:
            handle.remove()
    found = {name: torch.cat([part[name] for part in parts]) for name in [*wanted, FEATURES]}
    for name, features in found.items():
        if not bool(torch.isfinite(features).all()):
            raise NotFinite(f"activations of {name} of the text tower are NaN or infinite")
    return found


def _pooled(
    tower: TextTower,
    name: str,
    activation: Float[Tensor, "n context width"] | None,
    tokens: Int[Tensor, "n context"],
    pooling: str,
) -> Features:
    if not isinstance(activation, Tensor) or activation.ndim != 3 or activation.shape[:2] != tokens.shape:
        got = tuple(activation.shape) if isinstance(activation, Tensor) else type(activation).__name__
        raise UserError(
            f"layer {name} of the text tower gives {got} for {tuple(tokens.shape)} tokens; expected a width for each"
        )
    if pooling == "none":
        return activation.flatten(1)
    if pooling == "class":
        kind, end = tower.model.text_pool_type, getattr(tower.model, "text_eos_id", None)
        chosen: Tensor = text_global_pool(activation, tokens, kind, eos_token_id=end)
        return chosen
    counted = torch.ones_like(tokens, dtype=torch.bool)
    ends = ends_of(tower.model, tokens)
    if ends is not None:
        counted = torch.arange(tokens.shape[1], device=tokens.device) <= ends[:, None]
    weight = counted.to(activation.dtype)[:, :, None]
    return (activation * weight).sum(1) / weight.sum(1)
