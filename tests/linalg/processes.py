"""What a process of tests/linalg/test_distributed.py does; here, so that a spawned one can import it."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from geomlab.curvature.hessian import Hessian
from geomlab.errors import UserError
from geomlab.linalg.distributed import AllReduced
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense, Operator
from geomlab.linalg.trace import traces
from geomlab.rng import generator
from tests import models

WORLD = 2
TIMEOUT = 60.0  # seconds, of a whole run


def run(work: Callable[[int], object], folder: Path) -> list[object]:
    """What the processes of a group give."""
    context = mp.start_processes(_process, (work, folder), nprocs=WORLD, join=False, start_method="spawn")
    assert context is not None
    try:
        end = time.monotonic() + TIMEOUT
        while not context.join(end - time.monotonic()):  # True once all have ended
            if time.monotonic() > end:
                raise TimeoutError("the processes wait for each other")
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def _process(rank: int, work: Callable[[int], object], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=TIMEOUT / 2),
    )
    torch.save(work(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()


def measured(operator: Operator) -> dict[str, object]:
    """Everything that is to be equal, of an operator on the convolution of tests/models.py."""
    vectors = torch.randn(operator.dim, 3, generator=generator(0, "v"), dtype=torch.float64)
    top, bottom = eigenpairs(operator, 3, generator(0, "start"), tolerance=1e-8)
    found = traces(operator, generator(0, "p"), probes=6, vectors=top.vectors, images=top.images)
    return {
        "matvec": operator.matvec(vectors[:, 0]),
        "matmat": operator.matmat(vectors),
        "values": top.values,
        "smallest": bottom.values,
        "vectors": top.vectors.abs(),
        "products": top.products,
        "trace": found.trace.samples,
        "frobenius": found.squared_frobenius.samples,
    }


def curvature(rank: int) -> dict[str, object]:
    """Eleven samples in shares of five and six."""
    subject = models.subject(models.convolution())
    share = models.batches().share(rank, WORLD)
    operator = AllReduced(lambda: Hessian(subject, share, list(subject.weights)), len(share))
    local = operator.local
    assert isinstance(local, Hessian)
    loss = operator.mean(lambda: torch.tensor(local.loss, dtype=torch.float64))
    return {
        **measured(operator),
        "loss": float(loss),
        "gradient": operator.mean(lambda: local.gradient),
        "samples": (len(share), operator.samples),
    }


class Failing(Dense):
    """A matrix whose products fail."""

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        raise UserError("this one fails")


def failing_product(rank: int) -> object:
    """In one process only."""
    kind = Failing if rank == 1 else Dense
    return AllReduced(lambda: kind(torch.eye(3)), 1).matvec(torch.ones(3))


def failing_build(rank: int) -> object:
    """In one process only."""

    def build() -> Operator:
        if rank == 1:
            raise UserError("this one fails")
        return Dense(torch.eye(3))

    return AllReduced(build, 1)


def other_dimensions(rank: int) -> object:
    """Operators that cannot be added."""
    return AllReduced(lambda: Dense(torch.eye(3 + rank)), 1)


def everything(rank: int) -> dict[str, object]:
    """Each of the above or what it failed with, one after another: starting a process takes the longest."""
    found: dict[str, object] = {}
    for work in (failing_build, failing_product, other_dimensions, curvature):
        try:
            found[work.__name__] = work(rank)
        except (UserError, ValueError) as error:
            found[work.__name__] = error
    return found


def dying(rank: int) -> object:
    """A process that is gone before the next product."""
    operator = AllReduced(lambda: Dense(torch.eye(3)), 1)
    operator.matvec(torch.ones(3))
    if rank == 1:
        os._exit(3)
    return operator.matvec(torch.ones(3))
