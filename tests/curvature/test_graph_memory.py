"""What a graph takes is what it holds: per sample, and per batch whatever its size."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from geomlab import params
from geomlab.curvature import graph_memory
from geomlab.curvature.hessian import Hessian
from geomlab.subject import Subject
from tests import models

WIDE = 500


class LowRank(nn.Module):
    """W + BA."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_a, self.lora_b = nn.Parameter(torch.zeros(2, WIDE)), nn.Parameter(torch.zeros(WIDE, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.lora_b @ self.lora_a


def wide(*, adapted: bool) -> Subject:
    inner = nn.Linear(WIDE, WIDE)
    if adapted:
        parametrize.register_parametrization(inner, "weight", LowRank(), unsafe=True)
    return models.subject(
        nn.Sequential(nn.Flatten(), nn.Linear(72, WIDE), nn.Tanh(), inner, nn.Tanh(), nn.Linear(WIDE, 3))
    )


@pytest.mark.parametrize(
    ("adapted", "subspace"),
    [(False, "full"), (False, r"^1\.bias"), (True, "full"), (True, r"^1\.bias"), (True, "lora")],
)
def test_a_few_samples_tell_what_many_take(
    adapted: bool, subspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a part of the parameters, too: the others are the network's own, and merged weights there once a batch."""
    subject = wide(adapted=adapted)
    names, batches = params.select(subject.weights, subspace), models.batches(64, 64)
    told = Hessian(subject, batches, names).graph_bytes
    monkeypatch.setattr(graph_memory, "_PILOT", 64)
    found = Hessian(subject, batches, names).graph_bytes
    assert told.of(64) == pytest.approx(found.of(64), rel=0.1)
    assert told.a_sample < 64 * WIDE * 8  # not the weights' bytes
    own = sum(subject.weights[name].numel() for name in names) * 8
    merged = WIDE * WIDE * 8
    assert told.a_batch - own < (4 * merged if adapted else 0.1 * merged)
    assert (told.a_batch - own > merged / 2) == adapted
