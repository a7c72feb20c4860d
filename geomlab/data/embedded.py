"""The checkpoints that come with the package: the tiny CLIP of `glyphs` (docs/embedded.md)."""

from importlib.resources import files
from pathlib import Path

from geomlab.errors import UserError

NAMES = ("zero-shot", "ft")


def checkpoint_path(name: str) -> Path:
    """The file of an embedded checkpoint.

    Args:
        name: `zero-shot` or `ft`.

    Raises:
        UserError: for another name.
    """
    if name not in NAMES:
        raise UserError(f"no embedded checkpoint '{name}'; there are {', '.join(NAMES)}")
    return Path(str(files("geomlab.data").joinpath("checkpoints", f"{name}.pt")))
