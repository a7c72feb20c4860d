"""Features of fixed batches, all layers in one pass."""

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.data.batches import Batches
from geomlab.errors import NotFinite, UserError
from geomlab.features.axes import channels
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Images


@torch.no_grad()
def extract(subject: Subject, batches: Batches, layers: list[str]) -> dict[str, Features]:
    """Layer -> (n, dim) on the CPU, in the precision the network computed them in; then `features`.

    Tokens (n, tokens, dim) and maps are averaged over tokens and space; a map is (n, channels, height, width) or (n,
    height, width, channels), told apart by its proportions, then by the layer's modules and the other layers
    (`axes.channels`).

    Args:
        subject: the network.
        batches: the inputs.
        layers: submodule names.

    Raises:
        NotFinite: if an activation is not.
        UserError: if its first dimension is not the batch, it has another number of dimensions, or it is not clear
            which holds the channels.
    """
    pieces: dict[str, list[Tensor]] = {name: [] for name in [*layers, FEATURES]}
    for images, _ in batches:
        for name, activation in pooled(subject, images, layers).items():
            pieces[name].append(activation.cpu())
    found = {name: torch.cat(parts) for name, parts in pieces.items()}
    bad = [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NotFinite(f"{subject.name}: activations of {bad[0]} are NaN or infinite; try --dtype float64")
    return found


def pooled(subject: Subject, images: Images, layers: list[str]) -> dict[str, Features]:
    """Layer -> (n, dim) of some images, then `features`; see `extract`.

    Raises:
        UserError: as `extract`, whatever the numbers are.
    """
    modules = {name: subject.module.get_submodule(name) for name in layers}
    activations = subject.activations(images, layers)
    axes = channels(activations, modules, (images.shape[2], images.shape[3]))
    for name, activation in activations.items():
        if len(activation) != len(images) or not 2 <= activation.ndim <= 4:
            raise UserError(
                f"layer {name} gives {tuple(activation.shape)} for {len(images)} images; expected the batch first, and "
                "one to three axes after it: leave it out with --layers"
            )
    return {name: _pool(activation, axes.get(name, 1)) for name, activation in activations.items()}


def normalised(features: Features) -> Features:
    """Rows scaled to unit length, in fp64."""
    return F.normalize(features.double(), dim=1)


def _pool(activation: Tensor, channel: int) -> Tensor:
    if activation.ndim == 3:
        return activation.mean(1)
    if activation.ndim == 4:
        return activation.movedim(channel, 1).flatten(2).mean(2)
    return activation
