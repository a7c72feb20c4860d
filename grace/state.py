"""A stopped run on disk: all that it needs to go on as if it had not stopped.

What is random at a step depends on the seed and the step alone (geomlab/rng.py), and so do the batch and the learning
rate; so no state of a generator, of the data's order or of a schedule has to be kept.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geomlab import files
from geomlab.errors import UserError

FORMAT = "grace.state"
VERSION = 1


def save(
    path: Path, *, run: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], optimiser: Any
) -> None:
    """Write a state, atomically.

    Args:
        path: of the file.
        run: what must be the same when it goes on, JSON-able, and the number of steps done under `step`.
        tensors: of the model and of the method, by part and name.
        optimiser: its state_dict.

    Raises:
        UserError: if it cannot be written; what was there before is then untouched.
    """
    content = {"format": FORMAT, "version": VERSION, "run": dict(run), "optimiser": optimiser}
    buffer = io.BytesIO()
    torch.save(content | {"tensors": {part: dict(of) for part, of in tensors.items()}}, buffer)
    try:
        files.replace(path, buffer.getvalue())
    except OSError as error:
        raise UserError(
            f"{path}: cannot write the run's state ({error.strerror}); make room and --resume"
        ) from error


def load(path: Path, *, run: Mapping[str, Any]) -> dict[str, Any]:
    """Read a state. Nothing in the file is run.

    Args:
        path: of the file.
        run: as given to `save`, but for `step`.

    Raises:
        UserError: if it cannot be read, is damaged, or is of another run.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot read the run's state ({error.strerror}); check the path") from error
    except Exception as error:  # a damaged file can break the reader at any point
        raise UserError(f"{path}: not a whole state of a run; --overwrite to begin anew") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise UserError(f"{path}: not a state that this version can go on from; --overwrite to begin anew")
    different = differences(found["run"], run)
    if different:
        raise UserError(
            f"{path} is of another run ({', '.join(different)}); give the same command, "
            "or --overwrite to begin anew"
        )
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between what a file says and what is asked for here, at most three, in words.

    A file may say more than is asked for, but not within a part of it; what is missing there or here is None.
    """
    lines: list[str] = []
    for key in {**here, **there} if prefix else here:
        old, new = there.get(key), here.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key} is {old}, here {new}")
    return lines[:3]
