import pytest
import torch
from torch import nn

from geomlab.data.attacks import AutoAttack
from geomlab.errors import UserError
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

IMAGES = torch.rand((6, 3, 6, 6), generator=generator(0, "images"), dtype=torch.float64)
NONE = torch.zeros((0, *IMAGES.shape))


def linear(classes: int = 4) -> Subject:
    return models.subject(nn.Sequential(nn.Flatten(), nn.Linear(108, classes)))


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.03), ("l2", 0.3)])
def test_it_is_exact_on_a_linear_network_and_the_batch_changes_nothing(norm: str, eps: float) -> None:
    """There the margin to class c falls by at most ε·‖w_y − w_c‖ in the dual norm, and by that where the box is far."""
    subject = linear()
    images = 0.3 + 0.4 * IMAGES
    logits, weight = subject(images), subject.weights["1.weight"]
    labels = logits.argmax(1)
    dual = 1 if norm == "linf" else 2
    reach = eps * (weight[labels][:, None] - weight[None]).norm(p=dual, dim=2)
    falls = ((logits.gather(1, labels[:, None]) - logits) < reach).any(1)
    attack, state = AutoAttack(eps, norm), torch.get_rng_state()
    found = attack(subject, images, labels, NONE)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(subject(found).argmax(1) != labels, falls)
    assert 0 < int(falls.sum()) < 6
    away = (found - images).flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)
    assert float(away.max()) <= eps + 1e-12
    assert torch.equal(found[~falls], images[~falls])
    few = [5, 0, 3]
    part = attack(subject, images[few], labels[few], NONE[:, few])
    torch.testing.assert_close(part, found[few], atol=1e-6, rtol=0)


def test_what_can_be_misled_is() -> None:
    subject = linear()
    images = 0.3 + 0.4 * IMAGES
    labels, state = subject(images).argmax(1), torch.get_rng_state()
    found = AutoAttack(0.2)(subject, images, labels, NONE)
    assert torch.equal(torch.get_rng_state(), state)
    assert not bool((subject(found).argmax(1) == labels).any())
    assert float((found - images).abs().max()) <= 0.2 + 1e-12


def test_what_is_wrong_already_stays() -> None:
    subject = linear()
    labels = (subject(IMAGES).argmax(1) + 1) % 4
    assert torch.equal(AutoAttack(0.1)(subject, IMAGES, labels, NONE), IMAGES)


def test_too_few_classes_are_refused() -> None:
    labels = torch.zeros(6, dtype=torch.int64)
    with pytest.raises(UserError, match=r"needs at least 4 classes, the network has 3; use apgd:loss=ce"):
        AutoAttack(0.1)(linear(3), IMAGES, labels, NONE)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomlab.data.attacks.standard.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'geomlab\[attacks\]'"):
        AutoAttack(0.1).require(10)
