from collections.abc import Callable

import pytest
import torch

from grace.batches import Batch
from grace.methods import ft
from grace.run import Run

RunOf = Callable[..., Run]


def test_loss_is_the_mean_negative_log_probability(run_of: RunOf, batch: Batch) -> None:
    run = run_of("ft")
    model, terms = run.model, ft.loss(run, batch)
    assert list(terms) == ["cross_entropy"]
    assert model.head is not None
    with torch.no_grad():
        features = model.clip.encode_image((batch.images - 0.5) / 0.25)
        scores = (features / features.norm(dim=1, keepdim=True)) @ model.head.weight.T
        probability = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    right = [float(row[label]) for row, label in zip(probability, batch.labels, strict=True)]
    expected = -sum(torch.tensor(p).double().log().item() for p in right) / len(right)
    assert terms["cross_entropy"].item() == pytest.approx(expected, rel=1e-6)


def test_the_head_begins_as_zero_shot(run_of: RunOf) -> None:
    model = run_of("ft").model
    assert model.head is not None
    texts = [template.format("three") for template in model.labels.templates]
    mean = model.embed_texts(texts).mean(dim=0)
    expected = mean / mean.norm() * model.clip.logit_scale.exp()
    torch.testing.assert_close(model.head.weight[3], expected)
