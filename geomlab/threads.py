"""Keeping torch's number of threads, which is global, where other libraries set it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give torch its threads back: what numba compiles sets OpenMP's to all cores, also when told to take one."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
