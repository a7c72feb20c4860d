"""A folder of results: one NetCDF file a cell, and `study.json`, which says what the cells are of."""

import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import xarray as xr

from geomlab import files
from geomlab.errors import UserError
from geomlab.results.cell import CellKey
from geomlab.results.manifest import problem
from geomlab.results.names import distinct, given_once

SCHEMA = 1
MANIFEST = "study.json"
REPLACED = ".replaced"  # results that --overwrite set aside until the new ones are complete


@dataclass(frozen=True)
class Store:
    """The results of one checkpoint.

    Attributes:
        folder: holds `study.json` and `results/*.nc`.
    """

    folder: Path

    def path(self, key: CellKey) -> Path:
        """Where a cell lies, whether it is there or not."""
        return self.folder / "results" / key.file

    def missing(self, plan: Iterable[CellKey]) -> list[CellKey]:
        """The cells of a plan that are not there, or whose file is not the cell it should be."""
        return [key for key in plan if not self._holds(key)]

    def write(self, key: CellKey, dataset: xr.Dataset) -> None:
        """Write a cell under a temporary name, then rename it: a reader sees all of it or nothing.

        Raises:
            UserError: if the folder cannot be written.
        """
        dataset = dataset.assign_attrs(schema=SCHEMA, key=key.to_json())
        # In memory first: HDF5 does not come back from a full disk.
        with _undisturbed():
            content = bytes(dataset.to_netcdf(engine="h5netcdf"))
        write_bytes(self.path(key), content)

    def read(self, file: str) -> xr.Dataset:
        """One cell by file name, in memory.

        Raises:
            UserError: if it is missing, damaged, or of a newer schema.
        """
        path = self.folder / "results" / file
        dataset = _read(path)
        if dataset is None:
            raise UserError(f"{path}: missing or damaged; run geomlab analyze again with --resume")
        if int(dataset.attrs.get("schema", 0)) > SCHEMA:
            raise UserError(
                f"{path}: written by a newer geomlab (schema {dataset.attrs['schema']}); update geomlab"
            )
        return dataset

    def manifest(self) -> dict[str, Any] | None:
        """What `study.json` says, or None where there is none.

        Raises:
            UserError: if it cannot be read.
        """
        path = self.folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read ({error}); use another --out, or --overwrite") from error
        wrong = problem(content)
        if wrong:
            raise UserError(f"{path}: damaged ({wrong}); use another --out, or --overwrite")
        if content["schema"] > SCHEMA:
            raise UserError(
                f"{path}: written by a newer geomlab (schema {content['schema']}); update geomlab"
            )
        return dict(content)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write `study.json`, atomically."""
        write_text(
            self.folder / MANIFEST, json.dumps({"schema": SCHEMA, **manifest}, indent=1, allow_nan=False)
        )

    def _holds(self, key: CellKey) -> bool:
        path = self.path(key)
        try:
            found = path.stat()
        except OSError:
            return _read(path) is not None  # or says that it may not be read
        return _key(path, found.st_ino, found.st_mtime_ns, found.st_size) == key.to_json()


@dataclass(frozen=True, eq=False, repr=False)
class Results(Mapping[str, xr.Dataset]):
    """What one or several checkpoints' folders hold, joined: a mapping from measurements to Datasets.

    Attributes:
        folder: that was opened.
        manifests: checkpoint name -> its `study.json`.
        data: measurement -> Dataset, dimensions checkpoint and condition (drift: checkpoint only) first.
    """

    folder: Path
    manifests: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, xr.Dataset]

    def __getitem__(self, measurement: str) -> xr.Dataset:
        if measurement not in self.data:
            raise KeyError(f"no measurement '{measurement}'; there are {', '.join(self.data)}")
        return self.data[measurement]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        """Identity: that of a Mapping would ask Datasets whether they are equal, and each answers with a Dataset."""
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names, in the order they were analysed."""
        return tuple(self.manifests)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names, in the order they were given."""
        names = [c["name"] for manifest in self.manifests.values() for c in manifest["conditions"]]
        return tuple(dict.fromkeys(names))

    def __repr__(self) -> str:
        return (
            f"Results({self.folder}: {', '.join(self.checkpoints)} × {', '.join(self.conditions)}; "
            f"{', '.join(self.data)})"
        )


class Cells:
    """The cells of folders, each read once however often it is joined: for one checkpoint, then for all of them."""

    def __init__(self) -> None:
        self._read: dict[Path, xr.Dataset] = {}

    def open(self, folder: Path | str, *more: Path | str) -> Results:
        """Open folders that `geomlab analyze` wrote: of one checkpoint, or holding a folder a checkpoint.

        Raises:
            UserError: if a folder holds no results, or is given twice.
        """
        found = [store for root in (folder, *more) for store in stores(Path(root))]
        given_once([store.folder for store in found])
        where = [store.folder.resolve() for store in found]
        named = _conditions_apart(_checkpoints_apart(where, [store.manifest() or {} for store in found]))
        manifests = {manifest["checkpoint"]["name"]: manifest for manifest in named}
        cells: dict[str, dict[str, dict[str, xr.Dataset]]] = {}
        for store, (name, manifest) in zip(found, manifests.items(), strict=True):
            for cell in manifest["cells"]:
                one = self._cell(store, cell["file"])
                if one is not None:
                    cells.setdefault(cell["measurement"], {}).setdefault(name, {})[
                        cell["condition"] or ""
                    ] = one
        data = {measurement: _join(one) for measurement, one in cells.items()}
        return Results(Path(folder), manifests, data)

    def _cell(self, store: Store, file: str) -> xr.Dataset | None:
        """A cell, None where it is not there."""
        path = (store.folder / "results" / file).resolve()
        if path not in self._read and path.exists():
            self._read[path] = store.read(file)
        return self._read.get(path)


def open_results(folder: Path | str, *more: Path | str) -> Results:
    """Open folders that `geomlab analyze` wrote: of one checkpoint, or holding a folder a checkpoint.

    Raises:
        UserError: if a folder holds no results, or is given twice.
    """
    return Cells().open(folder, *more)


def _checkpoints_apart(folders: Sequence[Path], manifests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Manifests in which no two checkpoints have one name.

    Equal names get the folder of the checkpoint's file in front; of one file's several results, the folder of these.
    """
    names = distinct(
        [manifest["checkpoint"]["name"] for manifest in manifests],
        [Path(manifest["checkpoint"]["path"]).parent.name for manifest in manifests],
        [folder.name for folder in folders],
        [folder.parent.name for folder in folders],
        [str(folder) for folder in folders],
    )
    return [
        {**manifest, "checkpoint": {**manifest["checkpoint"], "name": name}}
        for manifest, name in zip(manifests, names, strict=True)
    ]


def _conditions_apart(manifests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Manifests in which a condition has one name and a name one condition: the SPEC where short names collide.

    A name is short within a folder; `pgd` of one may be another attack than `pgd` of the other.
    """
    pairs = {(c["name"], c["spec"]) for manifest in manifests for c in manifest["conditions"]}
    names, specs = ([pair[i] for pair in pairs] for i in (0, 1))

    def named(name: str, spec: str) -> str:
        return name if names.count(name) == specs.count(spec) == 1 else spec

    renamed = []
    for manifest in manifests:
        new = {c["name"]: named(c["name"], c["spec"]) for c in manifest["conditions"]}
        conditions = [{**c, "name": new[c["name"]]} for c in manifest["conditions"]]
        cells = [{**c, "condition": new.get(c["condition"], c["condition"])} for c in manifest["cells"]]
        renamed.append({**manifest, "conditions": conditions, "cells": cells})
    return renamed


def stores(root: Path) -> list[Store]:
    """The store in a folder, or those in its subfolders.

    Raises:
        UserError: if there is none.
    """
    if files.is_there(str(root / MANIFEST)):
        return [Store(root)]
    below = sorted(root.glob(f"[!.]*/{MANIFEST}")) if files.is_folder(str(root)) else []
    found = [Store(path.parent) for path in below]
    found.sort(key=lambda store: (store.manifest() or {}).get("position", 0))  # as they were given
    if not found:
        raise UserError(
            f"{root}: no results of geomlab there ({MANIFEST} is missing); run geomlab analyze --out {root}"
            f"{set_aside(root)}"
        )
    return found


def set_aside(root: Path) -> str:
    """The end of a message: where results lie that an --overwrite was to replace; nothing where there are none."""
    return (
        f"; the results from before are in {root / REPLACED}" if files.is_there(str(root / REPLACED)) else ""
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end: an h5netcdf file that they catch half open complains when it goes."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal comes here
        return
    caught: list[tuple[int, FrameType | None]] = []
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    held = {one: handler for one, handler in handlers.items() if callable(handler)}
    for one in held:
        signal.signal(one, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        for one, handler in held.items():
            signal.signal(one, handler)
    for number, frame in caught[:1]:
        held[signal.Signals(number)](number, frame)


@lru_cache(maxsize=4096)
def _key(path: Path, inode: int, modified: int, size: int) -> str | None:
    """What cell a whole file holds, None of a damaged one; a study asks thrice, and while a file stays it is read once.

    Raises:
        UserError: if it may not be read.
    """
    found = _read(path)
    return None if found is None else found.attrs.get("key")


def _read(path: Path) -> xr.Dataset | None:
    """A file of a cell, None where it is missing or damaged.

    Raises:
        UserError: if it may not be read: that is no reason to compute it anew.
    """
    try:
        with _undisturbed():
            return xr.load_dataset(path, engine="h5netcdf")
    except MemoryError:
        raise
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except Exception:  # a damaged file can break the reader at any point
        return None


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, under a temporary name, then rename it; half a character of a path is escaped.

    Raises:
        UserError: if the folder cannot be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        files.replace(path, content)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk, or choose another folder"
        ) from error


def _join(found: Mapping[str, Mapping[str, xr.Dataset]]) -> xr.Dataset:
    """checkpoint -> condition -> Dataset, as one Dataset; what a cell lacks is NaN."""
    by_checkpoint = []
    for name, by_condition in found.items():
        if "" in by_condition:
            joined = _bare(by_condition[""])
        else:
            pieces = [_bare(dataset) for dataset in by_condition.values()]
            joined = _concat(pieces, xr.Variable("condition", list(by_condition)))
        by_checkpoint.append(joined.expand_dims(checkpoint=[name]))
    return _concat(by_checkpoint, "checkpoint")


def _concat(pieces: Sequence[xr.Dataset], dim: str | xr.Variable) -> xr.Dataset:
    """Outer join that keeps the order of names: layers stay in the order of the network."""
    joined = xr.concat(pieces, dim=dim, join="outer", coords="minimal", compat="override", data_vars="all")
    along = dim if isinstance(dim, str) else "condition"
    named = [
        name for name, index in joined.indexes.items() if index.dtype.kind not in "iuf" and name != along
    ]
    return joined.reindex(
        {name: _merged([piece[name].values for piece in pieces if name in piece]) for name in named}
    )


def _merged(sequences: Iterable[Iterable[str]]) -> list[str]:
    """One order for all names: a new name goes behind the one it followed where it was found."""
    order: list[str] = []
    for sequence in sequences:
        at = 0
        for name in sequence:
            if name in order:
                at = order.index(name) + 1
            else:
                order.insert(at, name)
                at += 1
    return order


def _bare(dataset: xr.Dataset) -> xr.Dataset:
    """Without attributes, which differ between cells; numbers along dimensions that have no labels."""
    numbered = {dim: np.arange(size) for dim, size in dataset.sizes.items() if dim not in dataset.coords}
    return dataset.drop_attrs(deep=False).assign_coords(numbered)
