"""What a graph that is kept for derivatives takes, measured on a few samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geomlab.data.batches import Batches
from geomlab.subject import Subject
from geomlab.typing import Images, Labels

_PILOT = 4  # samples that are tried


@dataclass(frozen=True)
class GraphBytes:
    """Bytes that graphs hold; the network's own weights and the inputs are not counted.

    Attributes:
        a_sample: for each sample.
        a_batch: for each batch, however large: weights that are made of others, as W + BA is.
    """

    a_sample: float
    a_batch: float

    def of(self, samples: int, batches: int = 1) -> float:
        """Of so many samples in so many batches."""
        return samples * self.a_sample + batches * self.a_batch


def graph_bytes(subject: Subject, batches: Batches, work: Callable[[Images, Labels], object]) -> GraphBytes:
    """What work on a few samples keeps for a derivative: of four and of two, whose difference is that of two.

    Where the network takes a derivative by torch.func, which lets nobody see what is kept, all that is computed counts:
    of the networks that were tried two to four times as much.

    Args:
        subject: the network.
        batches: of which the first one is tried.
        work: builds the graph of images and labels.
    """
    images, labels = next(iter(batches))
    most = min(_PILOT, len(labels))
    few = most // 2
    tensors = (*subject.weights.values(), *subject.buffers.values(), images, labels)
    # A slice of the inputs has the storage of all of them.
    own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    whole = _kept(own, lambda: work(images[:most], labels[:most]))
    if not few:
        return GraphBytes(whole, 0.0)
    half = _kept(own, lambda: work(images[:few], labels[:few]))
    a_sample = max((whole - half) / (most - few), 0.0)
    return GraphBytes(a_sample, max(whole - most * a_sample, 0.0))


def _kept(own: set[int], work: Callable[[], object]) -> float:
    """Bytes of storages that are not one's own."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            work()
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        with _Computed() as computed:
            work()
        seen = {address: storage.nbytes() for address, storage in computed.storages.items()}
    return float(sum(size for address, size in seen.items() if address not in own))


class _Computed(TorchDispatchMode):
    """Keeps the storage of all that is computed, so that none has the address of an earlier one."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        storages = [leaf.untyped_storage() for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        self.storages |= {storage.data_ptr(): storage for storage in storages}
        return found
