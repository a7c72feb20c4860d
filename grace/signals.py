"""SIGTERM and Ctrl-C during training: the step that runs is finished, and its state saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal, and its state saved.

    Args:
        number: of the signal.
        done: steps that are done.
        steps: of the whole run.
        path: of the state.
    """

    def __init__(self, number: int, done: int, steps: int, path: Path) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"{name} after {done} of {steps} steps; the same command with --resume goes on from {path}"
        )
        self.number = number


@contextmanager
def caught() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT, so that the step that runs is finished; a second one interrupts at once."""
    numbers: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if numbers:
            raise KeyboardInterrupt
        numbers.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield numbers
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
