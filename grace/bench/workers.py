"""Jobs in one process, or in several of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from geomlab import progress
from geomlab.errors import UserError
from grace import signals
from grace.bench.cells import Cell, Job, work

Done = tuple[Cell, dict[str, Any]]
Work = Callable[[Job], Iterable[Done]]


def run(jobs: Sequence[Job], workers: int, work: Work = work) -> Iterator[Done]:
    """Do all jobs; each cell with its result as soon as its job is done, in any order.

    Args:
        jobs: independent of each other.
        workers: processes; 1 works in this one.
        work: does a job; a function that another process can import.

    Raises:
        UserError: the first of a job, or if a process ends, for lack of memory for example.
        KeyboardInterrupt: after Ctrl-C; what is written stays, and the other processes are ended.
    """
    if workers == 1:
        for job in jobs:
            yield from work(job)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_begin)
    try:
        for future in as_completed([pool.submit(_all, work, job) for job in jobs]):
            yield from future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker ended unasked, for lack of memory perhaps; the same command goes on, with fewer --workers"
        ) from error
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()  # all they write is written whole, and a run goes on from its saved state


def _all(work: Work, job: Job) -> list[Done]:
    with progress.hidden():
        try:
            return list(work(job))
        except signals.Interrupted as stop:  # of a kind that does not survive the way to the other process
            raise KeyboardInterrupt from stop


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(join: Callable[[], None]) -> None:
        join()
        os._exit(1)

    threading.Thread(target=watch, args=(parent.join,), daemon=True).start()
