"""Writing a file so that a reader sees all of it or nothing."""

import os
import secrets
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


def is_folder(name: str) -> bool:
    """Whether there is a folder of this name; no name, and one that the file system does not take or hides, are not."""
    try:
        return bool(name) and Path(name).is_dir()
    except (OSError, ValueError):
        return False
