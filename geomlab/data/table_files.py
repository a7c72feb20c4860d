"""Which Arrow and Parquet files a folder holds, and of which split each is."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from geomlab.data.places import OnDisk, printable
from geomlab.data.tables import SUFFIXES
from geomlab.errors import UserError
from geomlab.files import json_object
from geomlab.spec import Spec

Splits = dict[str, list[Path]]

_SHARD = re.compile(r"(?:.*-)?(\w+)-\d{5}-of-\d{5}\b.*")
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""In a file's name, as Hugging Face's `datasets` takes them (their docs, "Structure your repository")."""


def splits_of(spec: Spec, folder: Path, *, links: bool) -> Splits:
    """Split -> its files, in order.

    The folder was written by `save_to_disk`, of a set or of a dict of them, or holds `.parquet` or `.arrow` files,
    itself or in a folder `data`, named as on the hub: `SPLIT-00000-of-00001.parquet`, or with a word such as `test`
    between signs in their names; where none has, all are `train`.

    Args:
        spec: of the source.
        folder: which.
        links: whether symbolic links may lead out of it.

    Raises:
        UserError: if there are none, what says which they are is damaged or names others, or there is a script.
    """
    here = _names(folder, folder, links=links)
    scripts = sorted(name for name in here if name.endswith(".py"))
    if scripts:
        raise UserError(
            f"'{spec.text}': {folder} comes with a loading script, {printable(scripts[0])}, which is not run; write "
            "the set as Parquet (Dataset.to_parquet) into a folder of its own"
        )
    if "state.json" in here:
        about = _json(folder / "state.json")
        return {str(about.get("_split") or "train"): _saved(folder, about, here)}
    if "dataset_dict.json" in here:
        names = _list(folder / "dataset_dict.json", _json(folder / "dataset_dict.json").get("splits"))
        return {name: _saved_split(folder, name, here, links=links) for name in names}
    files = [folder / name for name in sorted(here) if name.endswith(SUFFIXES)]
    if not files and "data" in here:
        inner = _names(folder / "data", folder, links=links)
        files = [folder / "data" / name for name in sorted(inner) if name.endswith(SUFFIXES)]
    if not files:
        raise UserError(
            f"'{spec.text}': {folder} holds no set that save_to_disk wrote, and no .parquet or .arrow files"
        )
    return _by_name(files)


def _by_name(files: list[Path]) -> Splits:
    found: Splits = defaultdict(list)
    for file in files:
        shard = _SHARD.fullmatch(file.name)
        if shard:
            found[shard[1]].append(file)
    for file in files if not found else ():
        words = re.split(r"[-._ 0-9]+", file.name)
        split = next((name for name, known in _WORDS.items() if any(word in words for word in known)), None)
        if split:
            found[split].append(file)
    return dict(found) or {"train": files}


def _saved_split(folder: Path, name: str, here: set[str], *, links: bool) -> list[Path]:
    inside = folder / _known(folder / "dataset_dict.json", name, here)
    names = _names(inside, folder, links=links)
    return _saved(inside, _json(inside / _known(inside, "state.json", names)), names)


def _saved(folder: Path, about: dict[str, Any], here: set[str]) -> list[Path]:
    """The files that a set's `state.json` lists; anybody may have written it."""
    state = folder / "state.json"
    listed = about.get("_data_files")
    if isinstance(listed, list):
        listed = [one.get("filename") if isinstance(one, dict) else one for one in listed]
    return [folder / _known(state, name, here) for name in _list(state, listed)]


def _known(where: Path, name: str, here: set[str]) -> str:
    if name not in here:
        raise UserError(
            f"{printable(str(where))}: names {printable(repr(name))}, which does not lie beside it; fetch the folder "
            "again"
        )
    return name


def _list(where: Path, names: Any) -> list[str]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{printable(str(where))}: lists no names of files or splits; fetch the folder again")
    return names


def _json(path: Path) -> dict[str, Any]:
    try:
        return json_object(path)
    except OSError as error:
        raise UserError(
            f"{printable(str(path))}: cannot be read ({error}); fetch the folder again"
        ) from error
    except ValueError as error:
        raise UserError(f"{printable(str(path))} {error}; fetch the folder again") from error


def _names(folder: Path, root: Path, *, links: bool) -> set[str]:
    return {place.name for place in OnDisk(folder, root.resolve(), links=links).entries()}
