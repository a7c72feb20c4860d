"""Statistics of batch normalisation, taken anew at other weights."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.subject import Subject

Renew = Callable[[Subject], Subject]


MODES = ("fixed", "anew")


def renewal(mode: str, subject: Subject, batches: Batches) -> Renew:
    """What becomes of a network elsewhere in parameter space before its loss is taken: by mode `fixed`, nothing.

    Args:
        mode: of `MODES`.
        subject: as of `reestimate`.
        batches: likewise.

    Raises:
        UserError: as `reestimate`.
    """
    return reestimate(subject, batches) if mode == "anew" else lambda here: here


def reestimate(subject: Subject, batches: Batches) -> Renew:
    """What gives a network of this architecture the statistics that its weights have on some inputs.

    As `torch.optim.swa_utils.update_bn` does (Izmailov et al. 2018, arXiv 1803.05407, section 3.2): one pass over the
    inputs, each layer normalising by its batch; mean and variance are the averages over batches, here by their number
    of samples, and over the calls of a layer that is called more than once. Dropout stays off, and nothing is written
    into the network. They depend on how the inputs are split into batches, and a variance is that within them.

    Args:
        subject: the network, elsewhere in parameter space perhaps.
        batches: inputs of training, or like them.

    Raises:
        UserError: if no layer has such statistics, or a batch is too small to have a variance.
    """
    shared = {id(tensor): tensor for tensor in (*subject.module.parameters(), *subject.module.buffers())}
    module = deepcopy(subject.module, shared)
    layers = statistics_of(module)
    if not layers:
        raise UserError(
            f"--batchnorm anew: {subject.name} has no batch normalisation with statistics of its own"
        )
    kept = [
        f"{name}.{part}" for name in layers for part in ("running_mean", "running_var", "num_batches_tracked")
    ]
    seen: dict[nn.Module, int] = {}

    def count(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[layer] = seen.get(layer, 0) + len(inputs[0])
        setattr(layer, "momentum", len(inputs[0]) / seen[layer])  # noqa: B010 (typed as a submodule)

    for name in layers:
        module.get_submodule(name).train().register_forward_pre_hook(count)

    @torch.no_grad()
    def renew(here: Subject) -> Subject:
        own = {name: here.buffers[name].clone() for name in kept}
        training = replace(here, module=module, buffers={**here.buffers, **own})
        seen.clear()
        for images, _ in batches:
            training(images)
        return replace(here, buffers={**here.buffers, **own})

    try:
        renew(subject)
    except ValueError as error:  # torch's, of a batch without a variance
        raise UserError(
            f"--batchnorm anew: a batch has a single value a channel, which has no variance ({error}); "
            "choose another --batch-size or --samples"
        ) from error
    return renew


def statistics_of(module: nn.Module) -> list[str]:
    """Names of the layers that normalise by statistics they keep."""
    return [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    ]
