"""Weights and the module they go into: loaded strictly, copied, checked."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from geomlab.devices import out_of_memory
from geomlab.errors import UserError, reason

HEAD = "head.weight"  # of a CLIP's image tower, in a checkpoint and in the classifier


def load(module: nn.Module, tensors: Mapping[str, Tensor], spec: str) -> None:
    """Load a state_dict strictly, after checking it.

    Raises:
        UserError: naming at most five keys that are missing, unexpected, of another shape or no real numbers.
    """
    own = module.state_dict()
    # Files older than torch 0.4.1 lack this counter, which no evaluation reads; torch itself lets it be missing.
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    problems = [f"missing {name}" for name in own if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems += [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}, expected floating-point numbers"
        for name in own
        if name in tensors and own[name].is_floating_point() and not tensors[name].is_floating_point()
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"the weights do not fit {spec}: {'; '.join(problems[:5])}{more}; name the right network with --model"
        )
    module.load_state_dict(dict(tensors))


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module, in memory of its own.

    Raises:
        UserError: if there is none, or no weights could be passed into it.
    """
    scripted = [name for name, child in module.named_modules() if isinstance(child, torch.jit.ScriptModule)]
    if scripted:
        raise UserError(
            f"the network holds a torch.jit.ScriptModule ({scripted[0] or 'all of it'}), into which no weights can be "
            "passed; build it without torch.jit"
        )
    try:
        return deepcopy(module)
    except Exception as error:  # the user's own module may fail in any way
        if out_of_memory(error):
            raise
        raise UserError(
            f"the network cannot be copied: {reason(error)}; keep in it only what copy.deepcopy can copy, and use "
            "torch.nn.utils.parametrizations.weight_norm in place of torch.nn.utils.weight_norm"
        ) from error


@torch.no_grad()
def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        UserError: naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(f"{name} holds {bad} values that are NaN or infinite; use an earlier checkpoint")
