"""Slices over several processes of torch.distributed: each takes some of the points, or holds some of the samples."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from geomlab.landscape.slices import Slice
from geomlab.linalg.distributed import Group, together
from geomlab.risk import SampleLosses
from geomlab.typing import Float

T = TypeVar("T")


def over_points(
    work: Callable[[Float[Tensor, "points axes"]], Mapping[str, Slice]],
    coordinates: Float[Tensor, "points axes"],
    group: Group = None,
) -> dict[str, Slice]:
    """What `work` gives of all points, of which each process does its share: every world-th, so that all take as long.

    Each point is computed as by one process, so the result has the same bits, in all processes, on one kind of machine.

    Args:
        work: evaluates some points, as `evaluate` does; all processes hold the same network and samples.
        coordinates: all points, the same in all processes.
        group: processes that take part; None for all of them.

    Raises:
        UserError: if it failed in another process.
    """
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    every = _exchanged(lambda: work(coordinates[rank::world]) if rank < len(coordinates) else None, group)
    shares = [share for share in every if share is not None]
    order = (
        torch.cat([torch.arange(len(coordinates))[i::world] for i in range(len(shares))]).argsort().numpy()
    )
    return {name: Slice.joined([share[name] for share in shares]).take(order) for name in shares[0]}


def over_samples(work: Callable[[], SampleLosses], group: Group = None) -> SampleLosses:
    """The losses of the samples of all processes, in the order of their ranks: the `gather` of `evaluate`.

    Every process then has the same row of each point, and the groups of the jackknife are of the samples of all. What
    attacks samples anew or takes statistics of them sees the process's own share. All processes must evaluate the same
    points and conditions, in the same order.

    Args:
        work: gives the losses of this process's samples.
        group: processes that take part; None for all of them.

    Raises:
        UserError: if it failed in another process.
    """

    def own() -> SampleLosses:
        found = work()
        return SampleLosses(found.loss.cpu(), found.correct.cpu())

    every = _exchanged(own, group)
    return SampleLosses(torch.cat([one.loss for one in every]), torch.cat([one.correct for one in every]))


def _exchanged(work: Callable[[], T], group: Group) -> list[T]:
    """What each process has, in all of them; where one fails the others do not wait for it."""
    done = together(work, group)
    every = [done] * dist.get_world_size(group)
    dist.all_gather_object(every, done, group=group)
    return every
