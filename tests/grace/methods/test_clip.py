import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from geomlab.architectures import Labels
from geomlab.rng import generator
from grace.batches import Batch
from grace.losses import contrastive
from grace.methods import clip
from grace.model import Model
from grace.run import Run

RunOf = Callable[..., Run]

OWN = clip.Options(caption="a {domain} of the digit {name}")


def test_contrastive_is_the_naive_double_sum() -> None:
    rng = generator(0, "test")
    images, texts = (
        F.normalize(torch.randn(7, 5, generator=rng, dtype=torch.float64), dim=1) for _ in range(2)
    )
    captions = torch.tensor([0, 1, 0, 2, 1, 0, 3])
    texts = texts[captions]
    scale = torch.tensor(9.0, dtype=torch.float64)

    def naive(transposed: bool) -> float:
        total = 0.0
        for i in range(7):
            row = [
                scale.item() * float((images[j] @ texts[i]) if transposed else (images[i] @ texts[j]))
                for j in range(7)
            ]
            partition = sum(math.exp(value) for value in row)
            same = [j for j in range(7) if captions[j] == captions[i]]
            total -= sum(row[j] - math.log(partition) for j in same) / len(same)
        return total / 7

    to_text, to_image = contrastive(images, texts, captions, scale)
    assert to_text.item() == pytest.approx(naive(False), rel=1e-12)
    assert to_image.item() == pytest.approx(naive(True), rel=1e-12)


def test_contrastive_of_different_captions_is_infonce() -> None:
    rng = generator(1, "test")
    images, texts = (
        F.normalize(torch.randn(6, 4, generator=rng, dtype=torch.float64), dim=1) for _ in range(2)
    )
    logits = 5 * images @ texts.T
    halves = contrastive(images, texts, torch.arange(6), torch.tensor(5.0, dtype=torch.float64))
    assert halves[0].item() == pytest.approx(F.cross_entropy(logits, torch.arange(6)).item(), rel=1e-12)
    assert halves[1].item() == pytest.approx(F.cross_entropy(logits.T, torch.arange(6)).item(), rel=1e-12)


def test_loss_encodes_each_images_own_caption(run_of: RunOf, batch: Batch) -> None:
    run = run_of("clip", "options.any_template=0")
    model, terms = run.model, clip.loss(run, batch)
    texts = [
        f"a {domain} of the digit {model.labels.classes[label]}"
        for label, domain in zip(batch.labels.tolist(), batch.domains, strict=True)
    ]
    similar = model.embed(batch.images) @ model.embed_texts(texts).T * model.clip.logit_scale.exp()
    same = torch.tensor([[a == b for b in texts] for a in texts])
    target = same.double() / same.sum(1, keepdim=True)
    expected = -(target * similar.log_softmax(1)).sum(1).mean() / 2
    assert terms["image_to_text"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_scale_is_capped_at_100(run_of: RunOf, batch: Batch) -> None:
    run = run_of("clip")
    model = run.model
    with torch.no_grad():
        model.clip.logit_scale.fill_(math.log(100))
        at = clip.loss(run, batch)
        model.clip.logit_scale.fill_(10.0)
        above = clip.loss(run, batch)
    assert above["image_to_text"].item() == pytest.approx(at["image_to_text"].item(), rel=1e-12)


def test_captions_name_the_domain_or_use_any_template(model: Model, batch: Batch) -> None:
    own = clip.write_captions(model.labels, batch, OWN, generator(0, "loss"))
    assert all(text.startswith(f"a {domain} of") for text, domain in zip(own, batch.domains, strict=True))
    random = clip.write_captions(model.labels, batch, clip.Options(), generator(0, "loss"))
    assert len({text.split()[1] for text in random}) == 5
    assert [text.split()[-1] for text in random] == [text.split()[-1] for text in own]
    mixed = clip.write_captions(
        model.labels, batch, OWN.model_copy(update={"any_template": 0.5}), generator(0, "loss")
    )
    assert 0 < sum(a != b for a, b in zip(mixed, own, strict=True)) < 30


def test_braces_of_a_template_are_text_but_for_the_name(model: Model, batch: Batch) -> None:
    model.labels = Labels(model.labels.classes, ("a {} in {style} {",))
    texts = clip.write_captions(model.labels, batch, clip.Options(), generator(0, "loss"))
    assert texts[0] == f"a {model.labels.classes[int(batch.labels[0])]} in {{style}} {{"


def test_a_domain_is_named_in_words(batch: Batch) -> None:
    labels = Labels(tuple("abcdefghij"))
    painted = Batch(batch.images[:1], batch.labels[:1], ("art_painting",))
    name = labels.classes[int(batch.labels[0])]
    assert clip.write_captions(labels, painted, OWN, generator(0, "loss")) == [
        f"a art painting of the digit {name}"
    ]
