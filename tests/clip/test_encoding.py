"""Texts without their padding have the embeddings that they have with it."""

from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from geomlab import clip
from geomlab.clip import CLIP
from tests.clip import tiny

END = 49407  # of open_clip's tokenizer
TEXTS = ["a dog", "a photo of the great grey owl", "owl"]


def built(**text: Any) -> CLIP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = CLIP(
            tiny.CONFIG["embed_dim"],
            CLIPVisionCfg(**tiny.CONFIG["vision_cfg"]),
            CLIPTextCfg(**{**tiny.CONFIG["text_cfg"], **text}),
        )
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ({}, 9),
        ({"proj_bias": True}, 9),
        ({"pool_type": "eos", "eos_id": END}, 9),
        ({"pool_type": "last"}, 16),
        ({"pool_type": "first"}, 16),
        ({"no_causal_mask": True}, 16),
    ],
)
def test_padding_is_left_out_where_nothing_depends_on_it(text: dict[str, Any], tokens: int) -> None:
    model = built(**text)
    before = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    whole = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    some = clip.without_padding(model, whole)
    assert torch.equal(some, whole[:, :tokens])
    torch.testing.assert_close(clip.encode_texts(model, some), model.encode_text(whole))
    after = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    assert before == after


def test_what_is_left_out_would_have_changed_nothing() -> None:
    """Other tokens after the end, of which the tower sees none; of a tower that sees them they change the embedding."""
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    others = tokens.clone()
    others[tokens == 0] = 320
    for model, same in ((built(), True), (built(no_causal_mask=True), False)):
        there, here = (clip.encode_texts(model, clip.without_padding(model, one)) for one in (tokens, others))
        assert torch.allclose(there, here) == same


def test_a_gradient_reaches_the_places_of_the_tokens_that_are_left() -> None:
    model = built().requires_grad_(True)
    tokens = clip.without_padding(model, open_clip.SimpleTokenizer(context_length=16)(TEXTS))
    (gradient,) = torch.autograd.grad(
        clip.encode_texts(model, tokens)[:, 0].sum(), model.positional_embedding
    )
    assert bool((gradient[:9].abs().sum(1) > 0).all())
    assert not bool(gradient[9:].any())
