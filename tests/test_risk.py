from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from geomlab.errors import UserError
from geomlab.risk import check_apart
from tests import models


class Masked(nn.Module):
    """A class that is never meant."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.pad(self.net(images), (0, 1), value=-torch.inf)


class Centred(nn.Module):
    """Takes the mean of the batch from its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits - logits.mean(0)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(nn.functional.dropout(images, 0.5, training=True))


def of_the_batch() -> nn.Module:
    norm = nn.BatchNorm2d(models.SHAPE[0], track_running_stats=False)
    return nn.Sequential(norm, models.softmax_regression())


def autocast() -> nn.Module:
    """bfloat16 inside, whose rounding is far above what is allowed."""

    class Autocast(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                logits: Tensor = super().forward(input)
            return logits.to(input.dtype)

    return Autocast(*models.convolution())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("build", [Centred, of_the_batch])
def test_a_network_that_sees_the_batch_is_refused(build: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    subject, batches = models.subject(build(), dtype), models.batches(dtype=dtype)
    with pytest.raises(UserError, match=r"another one is beside it.*track_running_stats=True"):
        check_apart(subject, batches.images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("build", [*models.NETWORKS.values(), Masked, autocast, Dropping])
def test_rounding_is_no_sight_of_the_batch_nor_are_dice(
    build: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    subject = models.subject(build(), dtype)
    for gain in (0.0, 1e-3, 1.0, 30.0):
        scaled = subject.at({name: gain * weight for name, weight in subject.weights.items()})
        check_apart(scaled, models.batches(2, dtype=dtype).images)
