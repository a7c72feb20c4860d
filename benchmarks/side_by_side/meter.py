"""What a piece of work takes: wall and CPU seconds, peak memory, Hessian products; and an end to it.

CPU seconds of the process are what is compared where the machine has other work to do: waiting is not in them.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

GPU = False  # whether the work is on one


class OutOfTime(Exception):
    """A method went over its limit."""


class Meter:
    """Counts products, and stops the work at a product that begins after so many seconds of it."""

    def __init__(self, limit: float) -> None:
        self.products, self.limit, self.start = 0, limit, clock()

    def count(self, products: int = 1) -> None:
        if clock() - self.start > self.limit:
            raise OutOfTime
        self.products += products

    def counted(self, product: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count()
            return product(*args, **kwargs)

        return wrapped


def clock() -> float:
    """CPU seconds of the process, or wall seconds where a GPU works."""
    if GPU:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measured(work: Callable[[Meter], Any], limit: float) -> tuple[Any, dict[str, Any]]:
    """What work gives (None if it was stopped), and what it took."""
    reset_peak()
    wall, meter, result, stopped = time.perf_counter(), Meter(limit), None, False
    try:
        result = work(meter)
    except OutOfTime:
        stopped = True
    seconds = clock() - meter.start
    spent = {
        "seconds": seconds,
        "wall_seconds": time.perf_counter() - wall,
        "products": meter.products,
        "peak_gib": peak() / 2**30,
    }
    return result, spent | ({"stopped": True} if stopped else {})


def reset_peak() -> None:
    """Begin anew with the peak of memory, where the system lets one."""
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak() -> int:
    """Bytes: of the GPU, or of the process (VmHWM of Linux)."""
    if GPU:
        return torch.cuda.max_memory_allocated()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def medians(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turn, after one call to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            start = clock()
            work()
            times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}
