"""Writing a file so that a reader sees all of it or nothing."""

import os
import tempfile
from pathlib import Path

TEMPORARY = ".writing-"  # begins the name of what is being written


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it; missing folders are made.

    Raises:
        OSError: if it cannot be written; what was there before is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
