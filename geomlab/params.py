"""Parameters travel as an ordered `dict[str, Tensor]`: selecting, grouping, flattening."""

import hashlib
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from geomlab.errors import UserError
from geomlab.typing import Params, Vector

_STACKED = ("in_proj_weight", "qkv.weight", "in_proj.weight", "Wqkv.weight")  # q, k and v in one matrix


def select(names: Iterable[str], subspace: str, asked: str = "--params ") -> list[str]:
    """The parameter names that belong to a subspace, in order.

    Args:
        names: all parameter names.
        subspace: `full`, `visual` (the image tower), `lora` (low-rank factors), or a regular expression
            that is searched for in each name.
        asked: how the user said it.

    Raises:
        UserError: if the expression is empty or not valid, or selects nothing.
    """
    if not subspace:
        raise UserError(
            f"{asked}'' says no parameters; give full, visual, lora or a regular expression over their names"
        )
    names = list(names)
    pattern = {"full": "", "visual": r"^visual\.", "lora": r"lora_"}.get(subspace, subspace)
    try:
        chosen = [name for name in names if re.search(pattern, name)]
    except re.error as error:
        raise UserError(f"{asked}'{subspace}' is not a regular expression: {error}") from error
    if not chosen:
        shown = ", ".join(names[:5])
        raise UserError(f"{asked}'{subspace}' selects none of the {len(names)} parameters ({shown}, …)")
    return chosen


def stacked(name: str, weight: Tensor) -> int:
    """How many matrices a weight stacks along its first dimension: 3 where it holds q, k and v, else 1.

    Args:
        name: of the weight.
        weight: two dimensions or more.
    """
    return 3 if name.endswith(_STACKED) and weight.shape[0] % 3 == 0 else 1


def lacking(ours: Params, theirs: Params) -> list[str]:
    """The names of ours that theirs do not have, or have in another shape, in order."""
    return [name for name, own in ours.items() if name not in theirs or theirs[name].shape != own.shape]


def layer_of(name: str) -> str:
    """The layer (owning module) of a parameter: its name without the last part."""
    return name.rpartition(".")[0] or name


def by_layer(names: Iterable[str]) -> dict[str, list[str]]:
    """Layer -> its parameter names, in the order of first appearance."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(layer_of(name), []).append(name)
    return layers


def flatten(tensors: Params) -> Vector:
    """Concatenate all entries into one vector (dim,), in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def unflatten(vector: Vector, like: Params) -> dict[str, Tensor]:
    """The inverse of `flatten`: views of `vector` with the names and shapes of `like`."""
    pieces = vector.split([tensor.numel() for tensor in like.values()])
    return {name: piece.view_as(tensor) for (name, tensor), piece in zip(like.items(), pieces, strict=True)}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, independent of the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # no copy: inputs may be gigabytes
    return total.hexdigest()
