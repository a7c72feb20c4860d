import pytest
import torch
from torch import Tensor, nn

from geomlab.data.attacks import Square
from geomlab.errors import UserError
from geomlab.rng import generator
from tests import models

IMAGES = 0.3 + 0.4 * torch.rand((6, 3, 8, 8), generator=generator(0, "images"), dtype=torch.float64)


def no_gradient(x: Tensor) -> Tensor:
    """Logits that are steps in the image."""
    weight = torch.randn((192, 4), generator=generator(0, "w"), dtype=torch.float64)
    return (x.flatten(1) @ weight).mul(50).round()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.15), ("l2", 1.5)])
def test_it_needs_no_gradient_and_the_batch_changes_nothing(norm: str, eps: float) -> None:
    labels = no_gradient(IMAGES).argmax(1)
    attack, state = Square(eps, norm, queries=100), torch.get_rng_state()
    found = attack(no_gradient, IMAGES, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert bool((no_gradient(found).argmax(1) != labels).any())
    away = (found - IMAGES).flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)
    assert float(away.max()) <= eps + 1e-12
    few = [5, 0, 3]
    torch.testing.assert_close(attack(no_gradient, IMAGES[few], labels[few]), found[few], atol=1e-6, rtol=0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomlab.data.attacks.standard.find_spec", lambda name: None)
    subject = models.subject(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    with pytest.raises(UserError, match=r"the Square attack needs .* pip install 'geomlab\[attacks\]'"):
        Square(0.1)(subject, IMAGES, torch.zeros(6, dtype=torch.int64))
