"""Progress bars with time left on a terminal; silence elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_hidden: ContextVar[bool] = ContextVar("hidden", default=False)


class Bar:
    """One line of progress. `step(text)` says what is done next, `advance()` that one unit is done."""

    def __init__(self, progress: Progress, total: int, text: str, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total, completed=done)

    def step(self, text: str) -> None:
        """Show what is being worked on."""
        self._progress.update(self._task, description=text)

    def advance(self) -> None:
        """Count one unit as done."""
        self._progress.advance(self._task)


@contextmanager
def bar(total: int, text: str, done: int = 0) -> Iterator[Bar]:
    """A progress bar on stderr, shown only where stderr is a terminal; `done` units are done before.

    A bar inside another is not shown: two would draw over each other.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    quiet = _hidden.get() or not sys.stderr.isatty()
    shown = Progress(
        *columns,
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what is printed to a file meanwhile must not end up on the terminal
    )
    with shown as progress, hidden():
        yield Bar(progress, total, text, done)


@contextmanager
def hidden() -> Iterator[None]:
    """Show no bar meanwhile."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)
