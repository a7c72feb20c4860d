"""One operator over several processes, each of which holds some of the samples."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from geomlab.errors import UserError
from geomlab.linalg.operator import Operator
from geomlab.typing import Float, Vector

Group = dist.ProcessGroup | None
T = TypeVar("T")


class AllReduced(Operator):
    """Σ (samples/all samples)·(local operator) over the processes of a group, the matrix of a mean over all samples.

    Each product has the same bits in every process, so an algorithm that decides by them, as Lanczos does when it has
    converged, takes the same steps everywhere, provided that the processes run on one kind of machine, with generators
    of the same seed. All of them must make the same calls in the same order.

    An exception in one process is raised in all of them, in the others as a `UserError`, rather than waited for. A
    process that dies is noticed by its group, by the closed connection or by the group's timeout.

    Args:
        build: makes the local operator, of a mean over this process's samples.
        samples: of this process, at least 1.
        group: processes that take part; None for all of them.

    Attributes:
        local: what was built.
        weight: this process's share of the samples.
        samples: of all processes.

    Raises:
        UserError: if building failed in another process.
        ValueError: if a process has no samples, or the local operators differ in dimension.
    """

    def __init__(self, build: Callable[[], Operator], samples: int, *, group: Group = None) -> None:
        self._group = group
        self.local = together(build, group)
        self.dim, self.dtype, self.device = self.local.dim, self.local.dtype, self.local.device
        own = torch.tensor([samples, self.dim], dtype=torch.long, device=_device(group))
        every = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
        dist.all_gather(every, own, group=group)
        counts, dims = torch.stack(every).T.tolist()
        if min(counts) < 1 or len(set(dims)) > 1:
            raise ValueError(
                f"expected samples in every process and one dimension, got {counts} samples and dimensions {dims}"
            )
        self.samples = sum(counts)
        self.weight = samples / self.samples

    def matvec(self, vector: Vector) -> Vector:
        """The product with a vector (dim,), the same in all processes.

        Raises:
            UserError: if it failed in another process.
        """
        return self.mean(lambda: self.local.matvec(vector))

    def matmat(self, vectors: Float[Tensor, "dim k"]) -> Float[Tensor, "dim k"]:
        """The products with the columns of (dim, k), all in one message.

        Raises:
            UserError: if they failed in another process.
        """
        return self.mean(lambda: self.local.matmat(vectors))

    def mean(self, own: Callable[[], Tensor]) -> Tensor:
        """The mean over all samples of what each process has as a mean over its own, as a loss or a gradient.

        Args:
            own: gives it, of the same shape in all processes, on the device of the vectors.

        Raises:
            UserError: if it failed in another process.
        """
        total = together(own, self._group).mul(self.weight).contiguous()
        # An all-reduce may leave other last bits in other processes; the sum of one, handed on, cannot.
        first = 0 if self._group is None else dist.get_global_rank(self._group, 0)
        dist.reduce(total, first, group=self._group)
        dist.broadcast(total, first, group=self._group)
        return total


def together(work: Callable[[], T], group: Group) -> T:
    """Do this process's part, and raise if any process failed in its own: the others would wait for ever."""
    try:
        done = work()
    except Exception:
        _failures(1, group)
        raise
    if _failures(0, group):
        raise UserError("it failed in another process of the group, whose own message says why")
    return done


def _failures(own: int, group: Group) -> int:
    """Their number over the processes."""
    total = torch.tensor(own, device=_device(group))
    dist.all_reduce(total, group=group)
    return int(total)


def _device(group: Group) -> torch.device:
    """Where messages of the group may be."""
    return torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
