"""How a command line ends: errors in one line on stderr, and an exit status."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from geomlab.errors import UserError

# Recent typer carries its own copy of click, so its exceptions are reached through what typer exports:
# BadParameter < UsageError, which knows its context and gives its message without the usage.
_UsageError: Any = typer.BadParameter.__mro__[1]


class Stopped(Exception):
    """A signal ended a command that can say more of it than that it was interrupted.

    Args:
        message: one line.
        status: of the exit.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(
    app: typer.Typer, name: str, args: Sequence[str] | None = None, *, interrupted: str = "interrupted"
) -> int:
    """Run a typer application.

    Args:
        app: its commands return nothing.
        name: of the program, which begins every error.
        args: the command line without the program; None takes the process's own.
        interrupted: what is said after Ctrl-C.

    Returns:
        The exit status: 0; 2 after bad input, said in one line on stderr; 130 after Ctrl-C, or what `Stopped` says.
    """
    command = typer.main.get_command(app)
    try:
        status = command.main(
            args=None if args is None else list(args), prog_name=name, standalone_mode=False
        )
    except UserError as error:
        return _refuse(name, str(error))
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _refuse(name, f"{error.format_message().rstrip('.')}; see {path} --help")
    except Stopped as stop:
        sys.stderr.write(f"{name}: {stop}\n")
        return stop.status
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status == 130:
        sys.stderr.write(f"{name}: {interrupted}\n")
    return int(status or 0)


def say(text: str) -> None:
    """Print to stdout.

    Raises:
        UserError: if it cannot be written, to a full disk for example.
    """
    try:
        typer.echo(text.encode(errors="backslashreplace").decode())  # half a character of a path, for example
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        raise
    except OSError as error:
        # What is left in the buffer would fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        why = f"cannot write to standard output ({error.strerror})"
        raise UserError(f"{why}; all files are written") from error


def _refuse(name: str, message: str) -> int:
    sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return 2
