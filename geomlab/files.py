"""Files: written so that a reader sees all of it or nothing, looked for by any name, read as JSON."""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEMPORARY = ".writing-"  # begins the name of what is being written
JSON = 1 << 26  # bytes of a JSON file of others that is read, at most: ours


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


def json_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file of others holds.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON, no object, or too large; the message ends a sentence that begins with its name.
    """
    with path.open("rb") as file:
        content = file.read(JSON + 1)
    if len(content) > JSON:
        raise ValueError(f"is larger than {JSON >> 20} MiB")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"is no JSON object, but a {type(found).__name__}")
    return found


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
