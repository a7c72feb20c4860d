"""LoRA: W(θ) = W(θ0) + B_W A_W, the backbone frozen, A_W and B_W trained [N] (METHOD.md, section 2, term A).

By `torch.nn.utils.parametrize`, on the weights themselves: attention of open_clip and torch reads `in_proj_weight` and
`out_proj.weight` without calling a module that could be wrapped. Which weights is [O]; a recipe's `lora.targets` says.
"""

import math
import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from geomlab import params
from geomlab.errors import UserError
from geomlab.typing import Float

_PART = re.compile(r"\.?parametrizations\.(\w+)\.")


class LowRank(nn.Module):
    """W -> W + scale·B_W A_W [N]. At the start B = 0, so the network is the base model exactly.

    A weight is read as a matrix (rows, columns), a kernel (out, in, h, w) as (out, in·h·w). One that stacks q, k and v
    is read as three, with factors of their own.

    Args:
        weight: the base weight.
        rank: of each block's update.
        blocks: 3 for a stack of q, k and v, else 1.
        scale: what B A is multiplied by.
        rng: of A, uniform in ±1/√columns as `nn.Linear` and Hu et al. 2022 draw it.
    """

    def __init__(
        self, weight: Tensor, rank: int, *, blocks: int = 1, scale: float = 1.0, rng: torch.Generator
    ) -> None:
        super().__init__()
        rows, columns = weight.shape[0] // blocks, weight[0].numel()
        drawn = torch.rand(blocks, rank, columns, generator=rng, dtype=weight.dtype)
        self.lora_A = nn.Parameter(((2 * drawn - 1) / math.sqrt(columns)).to(weight.device))
        self.lora_B = nn.Parameter(torch.zeros(blocks, rows, rank, dtype=weight.dtype, device=weight.device))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its update."""
        return weight + update(self.lora_A, self.lora_B, self.scale).reshape(weight.shape)


def update(
    a: Float[Tensor, "blocks rank columns"], b: Float[Tensor, "blocks rows rank"], scale: float
) -> Tensor:
    """scale·B_W A_W (blocks, rows, columns) [N]."""
    return scale * (b @ a)


def attach(
    module: nn.Module, pattern: str, rank: int, *, scale: float = 1.0, rng: torch.Generator
) -> list[str]:
    """Give weights of a network adapters.

    Args:
        module: the network, for example a CLIP, a timm ViT or a ResNet.
        pattern: regular expression, searched in the names of the weights.
        rank: of each update.
        scale: what B A is multiplied by.
        rng: of the factors A.

    Returns:
        The names of the weights that have adapters now.

    Raises:
        UserError: if the expression is not valid, or finds no weight that can have one.
    """
    try:
        chosen = [found for found in _eligible(module) if re.search(pattern, found[2])]
    except re.error as error:
        raise UserError(f"lora.targets '{pattern}' is not a regular expression: {error}") from error
    if not chosen:
        known = [name for _, _, name in _eligible(module)]
        shown = f"{', '.join(known[:5])}, …" if known else "none"
        raise UserError(f"lora.targets '{pattern}' finds none of the {len(known)} weights ({shown})")
    for owner, attribute, name in chosen:
        weight = getattr(owner, attribute)
        factors = LowRank(weight, rank, blocks=params.stacked(name, weight), scale=scale, rng=rng)
        parametrize.register_parametrization(owner, attribute, factors)
    return [name for _, _, name in chosen]


def merge(module: nn.Module) -> None:
    """Put every update into its weight and remove the adapters; the network's function stays.

    A copy made by `deepcopy` shares its layers' classes, and merging it would take the weights off the original too.
    """
    for owner, attribute, _ in list(_adapted(module)):
        parametrize.remove_parametrizations(owner, attribute, leave_parametrized=True)


def factors(module: nn.Module) -> dict[str, Tensor]:
    """The adapters alone: `WEIGHT.lora_A` (blocks, rank, columns) and `WEIGHT.lora_B` (blocks, rows, rank)."""
    found: dict[str, Tensor] = {}
    for owner, attribute, name in _adapted(module):
        low_rank = _low_rank(owner, attribute)
        found |= {f"{name}.lora_A": low_rank.lora_A, f"{name}.lora_B": low_rank.lora_B}
    return found


def base_weights(module: nn.Module) -> dict[str, Tensor]:
    """W(θ0) of every weight with an adapter, by its name; not updated."""
    return {
        name: getattr(owner, "parametrizations")[attribute].original  # noqa: B009 (made at run time)
        for owner, attribute, name in _adapted(module)
    }


def merged_weights(module: nn.Module) -> dict[str, Tensor]:
    """W(θ) = W(θ0) + B A of every weight with an adapter, by its name."""
    return {name: getattr(owner, attribute) for owner, attribute, name in _adapted(module)}


def merged(tensors: Mapping[str, Tensor], adapters: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """A state_dict with updates put into it, without a network.

    Args:
        tensors: the state_dict of the base model.
        adapters: as `factors` gives them.
        scale: what B A is multiplied by.

    Raises:
        UserError: if a factor is missing, or belongs to no weight of that shape.
    """
    result = dict(tensors)
    for name in sorted({key.rpartition(".lora_")[0] for key in adapters}):
        weight, pair = tensors.get(name), [adapters.get(f"{name}.lora_{factor}") for factor in "AB"]
        try:
            a, b = pair
            assert isinstance(weight, Tensor)
            assert isinstance(a, Tensor)
            assert isinstance(b, Tensor)
            result[name] = weight + update(a, b, scale).reshape(weight.shape)
        except (AssertionError, RuntimeError) as error:
            raise UserError(
                f"the adapter of '{name}' does not fit these weights; name the model it was trained on"
            ) from error
    return result


def plain_name(name: str) -> str:
    """A parameter's name as it is in a checkpoint: `x.parametrizations.weight.original` -> `x.weight`.

    Factors become `x.weight.lora_A` and `x.weight.lora_B`.
    """
    found = _PART.search(name)
    if found is None:
        return name
    owner, rest = name[: found.start()], name[found.end() :]
    weight = ".".join(filter(None, [owner, found.group(1)]))
    return weight if rest == "original" else f"{weight}.{rest.partition('.')[2]}"


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state_dict with every update merged into its weight, under plain names."""
    whole = merged_weights(module)
    state = {plain_name(name): tensor for name, tensor in module.state_dict().items()}
    return {name: whole.get(name, tensor) for name, tensor in state.items() if ".lora_" not in name}


def _eligible(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Owner, attribute and name of each weight that can have an adapter."""
    for prefix, owner in module.named_modules():
        if isinstance(owner, nn.MultiheadAttention):
            names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]
            attributes = [name for name in names if getattr(owner, name) is not None]
        elif isinstance(owner, nn.Linear) or (isinstance(owner, nn.Conv2d) and owner.groups == 1):
            attributes = ["weight"]
        else:
            continue
        for attribute in attributes:
            if not parametrize.is_parametrized(owner, attribute):
                yield owner, attribute, ".".join(filter(None, [prefix, attribute]))


def _adapted(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Owner, attribute and name of each weight with an adapter."""
    for prefix, owner in module.named_modules():
        if parametrize.is_parametrized(owner):
            for attribute, parts in owner.parametrizations.items():
                if isinstance(parts[0], LowRank):
                    yield owner, attribute, ".".join(filter(None, [prefix, attribute]))


def _low_rank(owner: nn.Module, attribute: str) -> LowRank:
    found = getattr(owner, "parametrizations")[attribute][0]  # noqa: B009 (made at run time)
    assert isinstance(found, LowRank)
    return found
