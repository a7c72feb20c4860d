"""Writing a file so that a reader sees all of it or nothing."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".writing-"  # begins the name of what is being written


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it; missing folders are made.

    Its permissions are those of any new file: the umask's.

    Raises:
        OSError: if it cannot be written; what was there before is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    with temporary.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def is_there(name: str) -> bool:
    """Whether there is anything of this name; no name, and one that the file system does not take or hides, are not."""
    return _answers(name, Path.exists)


def is_file(name: str) -> bool:
    """Whether there is a file of this name, as `is_there`."""
    return _answers(name, Path.is_file)


def is_folder(name: str) -> bool:
    """Whether there is a folder of this name, as `is_there`."""
    return _answers(name, Path.is_dir)


def _answers(name: str, question: Callable[[Path], bool]) -> bool:
    try:
        return bool(name) and question(Path(name))
    except (OSError, ValueError):
        return False
