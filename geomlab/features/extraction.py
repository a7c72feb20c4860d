"""Features of fixed batches, all layers in one pass, written where they are to lie as they come."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.data.batches import Batches
from geomlab.errors import NotFinite, UserError
from geomlab.features.axes import channels
from geomlab.features.store import FeatureStore
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Images

POOLINGS = ("mean", "class", "none")


@torch.no_grad()
def extract(
    subject: Subject,
    batches: Batches,
    layers: list[str],
    *,
    pooling: str = "mean",
    store: FeatureStore | None = None,
) -> dict[str, Features]:
    """Layer -> (n, dim) on the CPU, in the precision the network computed them in; then `features`.

    With `mean`, tokens (n, tokens, dim) and maps are averaged over tokens and space; a map is (n, channels, height,
    width) or (n, height, width, channels), told apart by its proportions, then by the layer's modules and the other
    layers (`axes.channels`). With `class` the first token alone counts, and maps are averaged. With `none` all entries
    are kept, (n, tokens · dim).

    Args:
        subject: the network.
        batches: the inputs.
        layers: submodule names.
        pooling: of `POOLINGS`.
        store: where they lie; default in memory, all of them.

    Raises:
        NotFinite: if an activation is not.
        UserError: if its first dimension is not the batch, it has another number of dimensions, or it is not clear
            which holds the channels; or if the store has no room.
    """
    found: dict[str, Tensor] = {}
    begin = 0
    pooled = Pooled.of(subject, batches.images[:2], layers, pooling)
    for images, _ in batches:
        end = begin + len(images)
        for name, activation in pooled(images).items():
            if name not in found:
                shape = (len(batches), activation.shape[1])
                found[name] = (
                    store.room(*shape, activation.dtype)
                    if store
                    else activation.new_empty(shape, device="cpu")
                )
            rows = found[name][begin:end]
            rows.copy_(activation)
            if not bool(torch.isfinite(rows).all()):
                raise NotFinite(f"{subject.name}: activations of {name} are {_fault(activation)}")
        begin = end
    return found


@dataclass(frozen=True, eq=False)
class Pooled:
    """Layers of a network, pooled while it runs; made by `Pooled.of`.

    Attributes:
        subject: the network.
        layers: submodule names.
        pooling: of `POOLINGS`.
        axes: of the channels, of layers that give maps.
    """

    subject: Subject
    layers: list[str]
    pooling: str
    axes: Mapping[str, int]

    @classmethod
    def of(cls, subject: Subject, images: Images, layers: list[str], pooling: str = "mean") -> "Pooled":
        """Look at the outputs for some images, one at least.

        Raises:
            UserError: as `extract`, whatever the numbers are.
        """
        modules = {name: subject.module.get_submodule(name) for name in layers}
        activations = subject.activations(images, layers)
        axes = channels(activations, modules, (images.shape[2], images.shape[3])) if pooling != "none" else {}
        _check(activations, len(images))
        return cls(subject, layers, pooling, axes)

    def __call__(self, images: Images) -> dict[str, Features]:
        """Layer -> (n, dim) of some images, then `features`; see `extract`."""
        found = self.subject.activations(images, self.layers, reduce=self._pool)
        found[FEATURES] = self._pool(FEATURES, found[FEATURES])
        _check(found, len(images))
        return found

    def _pool(self, name: str, activation: Tensor) -> Tensor:
        if self.pooling == "none":
            return activation.flatten(1)
        if activation.ndim == 3:
            return activation[:, 0].clone() if self.pooling == "class" else activation.mean(1)
        if activation.ndim == 4:
            return activation.movedim(self.axes.get(name, 1), 1).flatten(2).mean(2)
        return activation


def _check(activations: Mapping[str, Tensor], n: int) -> None:
    for name, activation in activations.items():
        if len(activation) != n or not 2 <= activation.ndim <= 4:
            raise UserError(
                f"layer {name} gives {tuple(activation.shape)} for {n} images; expected the batch first, and one to "
                "three axes after it: leave it out with --layers"
            )


def normalised(features: Features) -> Features:
    """Rows scaled to unit length, in fp64."""
    return F.normalize(features.double(), dim=1)


def _fault(activation: Features) -> str:
    """What is wrong with features of which some are not finite where they lie."""
    if bool(torch.isfinite(activation).all()):
        return "beyond half precision's 65,504; leave out --on-disk float16"
    return "NaN or infinite; try --dtype float64"
