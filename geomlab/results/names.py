"""Short names that tell things apart."""

from collections.abc import Sequence
from pathlib import Path

from geomlab.errors import UserError


def distinct(names: Sequence[str], *folders: Sequence[str]) -> list[str]:
    """The names as they are; where several are equal, with a folder in front.

    Args:
        names: one each.
        folders: for each, one name a thing; the first that tells all equal names apart is taken, else the last.

    Returns:
        One name each, which are not all different if the last folders do not tell them apart.
    """
    found = list(names)
    for folder in folders:
        found = [
            f"{front}-{name}" if front and names.count(name) > 1 else name
            for name, front in zip(names, folder, strict=True)
        ]
        if len(set(found)) == len(found):
            break
    return found


def given_once(paths: Sequence[Path]) -> None:
    """Refuse a path that is given twice, under whatever name.

    Raises:
        UserError: naming it.
    """
    there = [path.resolve() for path in paths]
    for path, place in zip(paths, there, strict=True):
        if there.count(place) > 1:
            raise UserError(f"{path}: given twice; give each once")
