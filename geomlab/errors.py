"""The one exception a user may see: what was expected, what came, what to do."""

from pathlib import Path


class UserError(Exception):
    """Input that cannot be used. The command line prints it as one line and exits with status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NotFinite(UserError):
    """A gradient or an activation is NaN or infinite, so that what follows from it means nothing."""


class OutOfMemory(UserError):
    """Memory does not suffice for so many samples at once."""


def first_line(error: BaseException) -> str:
    """What an exception says first, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def reason(error: BaseException) -> str:
    """What an exception of the user's code says, and the line it came from."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})" if last else ""
    text = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {text}{where}"
