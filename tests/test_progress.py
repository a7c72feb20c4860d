import io
import sys
from typing import Any

import pytest
from rich.progress import Progress

from geomlab import progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_only_the_outermost_bar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: list[bool] = []
    redirected: list[bool] = []

    def record(*columns: Any, **options: Any) -> Progress:
        hidden.append(options["disable"])
        redirected.append(options["redirect_stdout"])
        return Progress(*columns, **{**options, "disable": True})

    monkeypatch.setattr(progress, "Progress", record)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.bar(2, "outer"), progress.bar(3, "inner"):
        pass
    with progress.hidden(), progress.bar(1, "hidden"):
        pass
    with progress.bar(1, "again"):
        pass
    assert hidden == [False, True, True, False]
    monkeypatch.setattr(sys, "stdout", Terminal())
    with progress.bar(1, "beside what is printed"):
        pass
    assert redirected == [False] * 4 + [True]  # to a file nothing is redirected
