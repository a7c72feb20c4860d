"""Name -> network. `open_clip:NAME`, `timm:NAME`, `torchvision:NAME`, `transformers:FOLDER`, `MODULE:FACTORY`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from geomlab import weights
from geomlab.architectures import clips, huggingface, libraries
from geomlab.architectures.network import Labels, Network, Preprocessing
from geomlab.architectures.user import call_factory
from geomlab.errors import UserError
from geomlab.spec import flag, parse

KNOWN = ("open_clip:NAME", "timm:NAME", "torchvision:NAME", "transformers:FOLDER", "MODULE:FACTORY")


@torch.random.fork_rng(devices=[])  # layers draw from the global generator, which is not ours
def build(
    spec: str,
    tensors: Mapping[str, Tensor] | None,
    *,
    config: Mapping[str, Any] | None = None,
    labels: Labels | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Network:
    """Build a classifier and load weights into it.

    Args:
        spec: the model SPEC.
        tensors: the state_dict to load, or None to keep the builder's own weights (those of a pretrained tag).
        config: the network's full description for `open_clip:custom`.
        labels: class names and templates; a CLIP without a trained head needs them.
        preprocessing: fields of `Preprocessing`, in place of the builder's own.

    Raises:
        UserError: if the SPEC is unknown, the weights do not fit, or the user's own module cannot be copied.
    """
    parsed = parse(spec)
    if parsed.head in ("open_clip", "transformers"):
        if parsed.head == "open_clip":
            network = clips.open_clip(parsed, tensors, config, labels)
        else:
            network = huggingface.transformers(parsed, tensors, labels)
        return replace(network, preprocessing=replace(network.preprocessing, **preprocessing or {}))
    if parsed.head in ("timm", "torchvision"):
        module, own = (libraries.timm if parsed.head == "timm" else libraries.torchvision)(parsed, tensors)
    else:
        module, own = call_factory(parsed, "model", KNOWN), Preprocessing()
        if not isinstance(module, nn.Module):
            raise UserError(
                f"'{spec}': expected an nn.Module from the factory, got a {type(module).__name__}"
            )
        module = weights.copied(module)  # it may be one the user goes on using
    if tensors is not None:
        weights.load(module, tensors, spec)
    names = labels.classes if labels else None
    return Network(module.eval(), replace(own, **preprocessing or {}), names)


@torch.random.fork_rng(devices=[])
def own_weights(spec: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """The state_dict of the pretrained network that a SPEC names, under the library's names, and its preprocessing.

    Args:
        spec: one of a library, not a `MODULE:FACTORY`.

    Raises:
        UserError: if it names no weights, or they cannot be had.
    """
    parsed = parse(spec)
    if parsed.head == "open_clip":
        found = clips.pretrained(parsed)
    elif parsed.head == "transformers":
        found = huggingface.pretrained(parsed)
    elif parsed.head == "timm" and flag(parsed, "pretrained"):
        found = libraries.timm(parsed, None)
    elif parsed.head == "torchvision" and parsed.option("weights") is not None:
        found = libraries.torchvision(parsed, None)
    else:
        option = "weights=TAG" if parsed.head == "torchvision" else "pretrained=yes"
        raise UserError(
            f"'{spec}': names no weights; add {option}, or give a checkpoint file and --model {spec}"
        )
    module, preprocessing = found
    return dict(module.state_dict()), preprocessing
