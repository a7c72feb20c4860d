import torch
from torch import Tensor, nn

from geomlab.architectures import Network, Preprocessing
from geomlab.features.extraction import extract
from geomlab.features.head import linear_head
from geomlab.subject import from_network
from tests import models


class Twice(nn.Module):
    """Logits that are no linear map of what feeds the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3 * 6 * 6, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(images.flatten(1)) ** 2
        return logits


def test_gives_the_networks_logits() -> None:
    subject, inputs = models.subject(models.convolution()), models.batches(40, 16)
    head = linear_head(subject, inputs.images[:2])
    assert head is not None
    features = extract(subject, inputs, [])["features"]
    torch.testing.assert_close(head(features), subject(inputs.images))


def test_at_weights_that_have_moved() -> None:
    subject, inputs = models.subject(models.convolution()), models.batches(40, 16)
    moved = subject.at({name: weight * 1.5 for name, weight in subject.weights.items()})
    head = linear_head(moved, inputs.images[:2])
    assert head is not None
    torch.testing.assert_close(head(extract(moved, inputs, [])["features"]), moved(inputs.images))


def test_there_is_none_where_logits_are_something_else() -> None:
    images = torch.rand(4, 3, 6, 6)
    assert linear_head(from_network(Network(Twice(), Preprocessing())), images) is None
