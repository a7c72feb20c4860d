import importlib.util
import sys
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from geomlab.architectures import Network, Preprocessing
from geomlab.errors import UserError
from geomlab.rng import generator
from geomlab.subject import Subject, from_network
from grace.bench import apgd

EPS = 0.05


@pytest.fixture
def linear() -> Subject:
    """A linear network of two classes, so that the cross-entropy falls with the margin."""
    module = nn.Sequential(nn.Flatten(), nn.utils.skip_init(nn.Linear, 12, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(0, "weights")))
    return from_network(Network(module, Preprocessing(2, (0.0,), (1.0,))))


def test_it_succeeds_where_a_linear_network_can_be_fooled(linear: Subject) -> None:
    images = 0.2 + 0.6 * torch.rand(60, 3, 2, 2, generator=generator(0, "images"))
    weight, bias = linear.weights["1.weight"].double(), linear.weights["1.bias"].double()
    logits = images.double().flatten(1) @ weight.T + bias
    labels = logits.argmax(1)
    labels[:5] = (labels[:5] + 1) % 2  # wrong from the start
    # In the ball the margin to the other class k falls by at most eps·‖w_y − w_k‖₁, and no corner leaves [0, 1].
    margins = logits.gather(1, labels[:, None]) - logits
    worst = margins - EPS * (weight[labels][:, None] - weight).abs().sum(-1)
    worst.scatter_(1, labels[:, None], torch.inf)
    robust = (worst > 0).all(1)
    assert 5 < int(robust.sum()) < 50
    attacked = apgd.apgd(linear, images, labels, eps=EPS, seed=0, batch_size=16)
    assert torch.equal(linear(attacked).argmax(1) == labels, robust)
    assert float((attacked - images).abs().max()) <= EPS * (1 + 1e-5)
    assert torch.equal(attacked[:5], images[:5])


def test_it_leaves_no_trace(linear: Subject) -> None:
    def trace(frame: FrameType, event: str, argument: Any) -> None:
        return None

    images, labels = torch.full((4, 3, 2, 2), 0.5), torch.zeros(4, dtype=torch.int64)
    before, tracing = torch.get_rng_state(), sys.gettrace()
    sys.settrace(trace)
    try:
        first = apgd.apgd(linear, images, labels, eps=EPS, seed=0, batch_size=4)
        kept = sys.gettrace()
    finally:
        sys.settrace(tracing)
    assert kept is trace
    assert torch.equal(before, torch.get_rng_state())
    assert all(weight.grad is None for weight in [images, *linear.weights.values()])
    assert torch.equal(first, apgd.apgd(linear, images, labels, eps=EPS, seed=0, batch_size=4))


def test_the_missing_package_is_named(linear: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(apgd, "find_spec", lambda name: None if name == "pyautoattack" else find(name))
    with pytest.raises(UserError, match=r"needs the package pyautoattack; pip install 'geomlab\[bench\]'"):
        apgd.apgd(
            linear, torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64), eps=EPS, seed=0, batch_size=1
        )
