import pytest
import torch

from geomlab.rng import generator
from grace.batches import Batch
from grace.method import NoOptions
from grace.methods import ft
from grace.model import Model


def test_loss_is_the_mean_negative_log_probability(model: Model, batch: Batch) -> None:
    ft.METHOD.prepare(model)
    terms = ft.loss(model, batch, NoOptions(), generator(0, "loss"))
    assert list(terms) == ["cross_entropy"]
    assert model.head is not None
    with torch.no_grad():
        features = model.clip.encode_image((batch.images - 0.5) / 0.25)
        scores = (features / features.norm(dim=1, keepdim=True)) @ model.head.weight.T
        probability = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    right = [float(row[label]) for row, label in zip(probability, batch.labels, strict=True)]
    expected = -sum(torch.tensor(p).double().log().item() for p in right) / len(right)
    assert terms["cross_entropy"].item() == pytest.approx(expected, rel=1e-6)


def test_the_head_begins_as_zero_shot(model: Model) -> None:
    ft.METHOD.prepare(model)
    assert model.head is not None
    texts = [template.format("three") for template in model.labels.templates]
    mean = model.embed_texts(texts).mean(dim=0)
    expected = mean / mean.norm() * model.clip.logit_scale.exp()
    torch.testing.assert_close(model.head.weight[3], expected)
