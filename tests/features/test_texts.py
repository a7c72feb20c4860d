import pytest
import torch
from torch.nn import functional as F

from geomlab import api
from geomlab.data.embedded import checkpoint_path
from geomlab.errors import NotFinite, UserError
from geomlab.features.texts import extract_texts

TOWER = api.load(checkpoint_path("zero-shot")).text
assert TOWER is not None
TEXTS = TOWER.prompts()
LAST = "transformer.resblocks.1"


def test_their_means_are_the_zero_shot_head() -> None:
    """Which `clip.zero_shot_head` makes of open_clip's own `encode_text`."""
    head = api.load(checkpoint_path("zero-shot")).weights["head.weight"]
    embedded = F.normalize(extract_texts(TOWER, TEXTS, [])["features"], dim=1)
    mean = embedded.view(len(TOWER.templates), len(TOWER.classes), -1).mean(0)
    torch.testing.assert_close(F.normalize(mean, dim=1), F.normalize(head, dim=1))


def test_a_trained_head_leaves_the_text_side_as_it_is() -> None:
    tower = api.load(checkpoint_path("ft")).text
    assert tower is not None
    there, here = (extract_texts(one, TEXTS, [])["features"] for one in (TOWER, tower))
    torch.testing.assert_close(there, here)


def test_batches_change_nothing_and_hooks_go() -> None:
    whole, parts = (extract_texts(TOWER, TEXTS, batch_size=size) for size in (256, 7))
    assert list(whole) == ["transformer.resblocks.0", LAST, "features"]
    for name, features in whole.items():
        torch.testing.assert_close(features, parts[name])
    assert not any(module._forward_hooks for module in TOWER.model.modules())


def test_pooled_as_stated() -> None:
    tokens = TOWER.tokenize(TEXTS)
    ends = tokens.argmax(1)
    context = tokens.shape[1]
    every = extract_texts(TOWER, TEXTS, [LAST], pooling="none")[LAST].view(len(TEXTS), context, -1)
    last = extract_texts(TOWER, TEXTS, [LAST])[LAST]
    mean = extract_texts(TOWER, TEXTS, [LAST], pooling="mean")[LAST]
    for row, end in enumerate(ends.tolist()):
        torch.testing.assert_close(last[row], every[row, end])
        torch.testing.assert_close(mean[row], every[row, : end + 1].mean(0))
    # What the tower makes of the token of the end is the embedding.
    made = TOWER.model.ln_final(last) @ TOWER.model.text_projection
    torch.testing.assert_close(made, extract_texts(TOWER, TEXTS, [])["features"])


def test_prompts_are_of_every_class_and_not_too_many() -> None:
    assert len(TEXTS) == len(TOWER.classes) * len(TOWER.templates)
    assert TOWER.prompts(most=1) == [TOWER.templates[0].replace("{}", name) for name in TOWER.classes]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="expected texts, and a pooling of mean, class, none; got 0"):
        extract_texts(TOWER, [])
    with pytest.raises(ValueError, match="got 50 and 'max'"):
        extract_texts(TOWER, TEXTS, pooling="max")
    with pytest.raises(UserError, match="the text tower has no layer nowhere; it has"):
        extract_texts(TOWER, TEXTS, ["nowhere"])
    broken = TOWER.to("cpu", torch.float32)
    broken.model.attn = torch.nn.Identity()  # which nothing calls
    with pytest.raises(UserError, match="layer attn of the text tower gives NoneType"):
        extract_texts(broken, TEXTS, ["attn"])
    assert not any(module._forward_hooks for module in broken.model.modules())


def test_what_is_not_finite_is_an_error() -> None:
    broken = TOWER.to("cpu", torch.float32)
    broken.model.ln_final.weight.fill_(torch.nan)
    with pytest.raises(NotFinite, match="activations of features of the text tower are NaN"):
        extract_texts(broken, TEXTS, [])
