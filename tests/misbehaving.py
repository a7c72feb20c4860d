"""Factories and networks of a user that go wrong in ways of their own."""

import sys
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests import factories


class Classifier(nn.Module):
    """Has the state_dict of `tests.factories:model`, and a forward pass that subclasses spoil."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = factories.model()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.layers.state_dict()

    def load_state_dict(self, state: Any, *args: Any, **kwargs: Any) -> Any:
        return self.layers.load_state_dict(state)


class Raising(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        raise KeyError("no such head")


class Pair(Classifier):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(images), images


class Scalar(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).sum(1)


class Detached(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.detach())


class Ungraded(Classifier):
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Inferring(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.layers(images)


class Weightless(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class BatchStatistics(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(nn.functional.batch_norm(images, None, None, training=True))


class Renormed(Classifier):
    """Its embedding shortens its own rows when they are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, 3, max_norm=0.1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images) + self.embedding(torch.ones(1, dtype=torch.long))


class Pruned(Classifier):
    """Holds a parameter of integers and one without entries."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.arange(3), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(0))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)[:, self.rows] + self.bias.sum()


class OldWeightNorm(Classifier):
    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.extra = nn.utils.weight_norm(nn.Linear(3, 3))


class Checkpointed(Classifier):
    """Recomputes all but its head in the backward pass."""

    reentrant = False

    def forward(self, images: Tensor) -> Tensor:
        return self.layers[3](checkpoint(self.layers[:3], images, use_reentrant=self.reentrant))


class Reentrant(Checkpointed):
    reentrant = True


class Dice(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images) + torch.rand(len(images), 3)


class Tiring(Classifier):
    """Throws dice from the fortieth call on: later than what is looked at before anything begins."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.layers(images) + (self.calls > 40) * torch.rand(len(images), 3)


class TwoAtATime(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) != 2:
            raise ValueError("only pairs")
        return self.layers(images)


class Greedy(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 2:
            raise MemoryError
        return self.layers(images)


class Squeezed(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze()


class Flattened(Classifier):
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).reshape(2, -1)


raising, pair, scalar, detached, dice, tiring = Raising, Pair, Scalar, Detached, Dice, Tiring
ungraded, inferring, weightless = Ungraded, Inferring, Weightless
batch_statistics, renormed = BatchStatistics, Renormed
pruned, old_weight_norm = Pruned, OldWeightNorm
checkpointed, reentrant = Checkpointed, Reentrant
two_at_a_time, greedy, squeezed, flattened = TwoAtATime, Greedy, Squeezed, Flattened


class Attention(nn.Module):
    """Its attention gives a tuple, and calls its output projection as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * factories.SIDE, 8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.embed(images.reshape(len(images), factories.SIDE, -1))
        return self.head((x + self.attn(x, x, x)[0]).mean(1))


def chatty() -> nn.Module:
    print("loading my network ...")
    print("be patient", file=sys.stderr)
    raise OSError("disk on fire")


def exiting() -> nn.Module:
    sys.exit("I give up")


def thousand_words() -> nn.Module:
    raise ValueError("word " * 1000 + "\nand a second line")


def no_linear() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 4), nn.Flatten())


KEPT = factories.model().train()


def kept() -> nn.Module:
    """The very same module each time."""
    return KEPT


Pairs = list[tuple[Any, Any]]


def words() -> Any:
    return ["cat", "dog"], [0, 1]


def named_array() -> Any:
    return torch.zeros(2, 3, 4, 4), ["cat", "dog"]


def tensor_only() -> Tensor:
    return torch.zeros(5, 3, 4, 4)


def ragged() -> Any:
    return [[1, 2], [3]], [0, 1]


def empty() -> Any:
    return torch.zeros(0, 3, 4, 4), torch.zeros(0, dtype=torch.long)


def single() -> Any:
    return torch.zeros(1, 3, 4, 4), torch.zeros(1, dtype=torch.long)


def many_sizes() -> Pairs:
    return [(torch.zeros(3, side, side), 0) for side in (4, 5, 6)]


def named_labels() -> Pairs:
    return [(torch.zeros(3, 4, 4), name) for name in ("cat", "dog", "cat")]


def soft_labels() -> Pairs:
    return [(torch.zeros(3, 4, 4), label) for label in (0.2, 0.9, 1.0)]


def no_pairs() -> list[int]:
    return [1, 2, 3]


def grey() -> Any:
    images, labels = factories.data()
    return images[:, :1], labels


def augmented() -> Any:
    """A data set with a random transform, as for training."""

    class Noisy(list):  # type: ignore[type-arg]
        def __getitem__(self, row: Any) -> Any:
            image, label = super().__getitem__(row)
            return image * torch.rand(1), label

    images, labels = factories.data()
    return Noisy(zip(images, labels.tolist(), strict=True))


def unprintable() -> Any:
    return {"clean": factories.data(), "a\ud800b": factories.data()}
