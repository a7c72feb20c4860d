"""Labels as rows of a table or members of an archive say them: whole numbers or names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.data.places import CannotRead, OnDisk, printable
from geomlab.errors import UserError
from geomlab.spec import Spec

_MOST = 1 << 24  # bytes of a file of names: ours, 1,000,000 of 16 letters
_LARGEST = 1 << 31


def named_classes(spec: Spec) -> tuple[str, ...] | None:
    """The class names in the file that `classes=FILE` names, one a line; None where the SPEC names none.

    Raises:
        UserError: if it cannot be read, or holds no names, or one twice.
    """
    given = spec.option("classes")
    if given is None:
        return None
    path = Path(given)
    try:
        path = path.expanduser()
        text = OnDisk(path, path.parent, is_folder=False).read(_MOST).decode()
    except (CannotRead, ValueError, RuntimeError) as error:  # no UTF-8, a NUL in the path; no such home
        raise UserError(f"'{spec.text}': cannot read the class names of {path}: {error}") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names or len(set(names)) < len(names):
        raise UserError(f"'{spec.text}': {path} must hold the names of the classes, one a line, each once")
    return names


def numbered(
    spec: Spec, values: Sequence[Any], names: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Class numbers (n,) of labels, and the names of the classes where they have any.

    Args:
        spec: of the source.
        values: the labels: whole numbers, or names, which are numbered as in `names` or else by sorted name.
        names: of the classes, where they are known.

    Raises:
        UserError: if they are neither, or one is no class of `names`.
    """
    if all(isinstance(value, str) for value in values):
        names = names or tuple(sorted(set(values)))
        number = {name: i for i, name in enumerate(names)}
        return _checked(spec, values, number), names
    whole = {value: value for value in values if type(value) is int}
    known = {value: value for value in whole if 0 <= value < (len(names) if names else _LARGEST)}
    return _checked(spec, values, known), names


def _checked(spec: Spec, values: Sequence[Any], number: Mapping[Any, int]) -> NDArray[np.int64]:
    strange = next(
        (i for i, value in enumerate(values) if type(value) not in (int, str) or value not in number), None
    )
    if strange is not None:
        raise UserError(
            f"'{spec.text}': the label of sample {strange} is {printable(repr(values[strange])[:60])}; expected class "
            "numbers from 0 on, fewer than there are names, or names, all of them of the classes"
        )
    return np.array([number[value] for value in values], dtype=np.int64)
