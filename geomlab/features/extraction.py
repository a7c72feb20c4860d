"""Features of fixed batches, all layers in one pass."""

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.features.axes import channels
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features


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
        UserError: if an activation is not finite, its first dimension is not the batch, or it is not clear which holds
            the channels.
    """
    modules = {name: subject.module.get_submodule(name) for name in layers}
    pieces: dict[str, list[Tensor]] = {name: [] for name in [*layers, FEATURES]}
    for images, _ in batches:
        activations = subject.activations(images, layers)
        axes = channels(activations, modules, (images.shape[2], images.shape[3]))
        for name, activation in activations.items():
            if len(activation) != len(images):
                raise UserError(
                    f"layer {name} gives {tuple(activation.shape)} for {len(images)} images; expected the batch first"
                )
            pieces[name].append(_pool(activation, axes.get(name, 1)).cpu())
    found = {name: torch.cat(parts) for name, parts in pieces.items()}
    bad = [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise UserError(f"{subject.name}: activations of {bad[0]} are NaN or infinite; try --dtype float64")
    return found


def normalised(features: Features) -> Features:
    """Rows scaled to unit length, in fp64."""
    return F.normalize(features.double(), dim=1)


def _pool(activation: Tensor, channel: int) -> Tensor:
    if activation.ndim == 3:
        return activation.mean(1)
    if activation.ndim > 3:
        return activation.movedim(channel, 1).flatten(2).mean(2)
    return activation
