"""The command line as a user runs it."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomlab.cli import main

ROOT = Path(__file__).parent.parent
PROGRAM = "import sys; from {0}.cli import main; sys.exit(main())"


def command(*arguments: object, program: str = "geomlab") -> list[str]:
    """The arguments of a process that runs the command line."""
    return [sys.executable, "-c", PROGRAM.format(program), *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's, with the repository importable and warnings of libraries left alone."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Result:
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Result:
    """Run `geomlab` with these arguments in this process, which has torch loaded already."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Result(status, out.getvalue(), err.getvalue())


def start(*arguments: object, program: str = "geomlab", **options: Any) -> subprocess.Popen[str]:
    """Run the command line as a process of its own, to be killed or watched."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    called = command(*arguments, program=program)
    return subprocess.Popen(called, cwd=ROOT, env=environment(), **{**pipes, **options})


def refused(result: Result, *words: str) -> None:
    """Check that bad input ended as it should: status 2, one line on stderr that holds the words."""
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("geomlab: ")
    assert len(lines[0]) < 600
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


QUICK: Sequence[str] = ("--budget", "quick", "--samples", "20", "--condition", "clean")
