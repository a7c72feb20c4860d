"""The user's own code: `MODULE:FACTORY`, and a first try of a network that may fail in any way."""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geomlab.architectures.network import Preprocessing
from geomlab.devices import out_of_memory
from geomlab.errors import OutOfMemory, UserError, reason
from geomlab.spec import Spec


def call_factory(spec: Spec, kind: str, known: Sequence[str]) -> Any:
    """Call the user's own `MODULE:FACTORY`; modules are looked up from the working folder too.

    Args:
        spec: the SPEC.
        kind: what the factory makes, `model` or `data source`.
        known: the SPECs there are of that kind, said where there is no such module.

    Raises:
        UserError: if the module or the callable does not exist, or either fails.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(spec.head)
    except ModuleNotFoundError as error:
        if error.name and spec.head != error.name and not spec.head.startswith(f"{error.name}."):
            raise UserError(f"'{spec.text}': importing {spec.head} failed: {error}") from error
        raise UserError(
            f"'{spec.text}': no module {spec.head} here or installed; a {kind} is one of {', '.join(known)}"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code may do anything
        raise UserError(f"'{spec.text}': importing {spec.head} failed: {reason(error)}") from error
    factory: Callable[..., Any] | None = getattr(module, spec.positional, None) if spec.positional else None
    if not callable(factory):
        raise UserError(
            f"'{spec.text}': {spec.head} has no callable '{spec.positional}'; write MODULE:FACTORY"
        )
    try:
        return factory(**dict(spec.options))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"'{spec.text}': the factory failed: {reason(error)}") from error


@torch.no_grad()
def try_on(network: Callable[[Tensor], Any], images: Tensor, preprocessing: Preprocessing, name: str) -> Any:
    """What a network gives for a few images, whatever that is.

    Args:
        network: images in [0, 1] -> its output.
        images: (n, C, H, W).
        preprocessing: what stands before it; its mean tells the channels.
        name: of the network, for the message.

    Raises:
        UserError: if it cannot take them.
        OutOfMemory: if memory does not suffice.
    """
    channels, shape = len(preprocessing.mean), tuple(images.shape[1:])
    if channels > 1 and channels != shape[0]:
        raise UserError(f"{name} takes images of {channels} channels, got images of shape {shape}")
    try:
        return network(images)
    except Exception as error:  # the user's own module may fail in any way
        many = f"{len(images)} image{'s' if len(images) > 1 else ''} of shape {shape} at once"
        if out_of_memory(error):
            raise OutOfMemory(
                f"{name}: not enough memory for {many}; give a lower --batch-size, and --resume where there are results"
            ) from error
        raise UserError(f"{name} cannot take {many}: {reason(error)}") from error
