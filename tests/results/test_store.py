"""One folder of cells: what is there, what is missing, what is not to be trusted."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geomlab.errors import UserError
from geomlab.results import CellKey, Store, open_results
from geomlab.results import store as module
from geomlab.results.names import distinct
from tests.synthetic import write_folder

KEY = CellKey(
    "accuracy", {}, "c" * 64, None, {"spec": "clean", "source": "x", "n": 3, "seed": 0}, 0, "float32", "cpu"
)
CELL = xr.Dataset({"loss": ("sample", np.array([1.0, np.nan, np.inf])), "warnings": "[]"})


def test_a_cell_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.missing([KEY]) == [KEY]
    store.write(KEY, CELL)
    assert store.missing([KEY]) == []
    found = store.read(KEY.file)
    xr.testing.assert_identical(found.drop_attrs(), CELL)
    assert found.attrs == {"schema": 1, "key": KEY.to_json()}
    assert [path.name for path in (tmp_path / "results").iterdir()] == [KEY.file]


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "d" * 64},
        {"reference": "c" * 64},
        {"seed": 1},
        {"dtype": "float64"},
        {"device": "cuda"},
        {"parameters": {"k": 5}},
        {"condition": {"spec": "clean", "source": "x", "n": 4, "seed": 0}},
        {"condition": None},
        {"revision": 2},
    ],
)
def test_whatever_a_number_depends_on_makes_another_cell(change: dict[str, object], tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(KEY, CELL)
    other = replace(KEY, **change)  # type: ignore[arg-type]
    assert other.file != KEY.file
    assert store.missing([KEY, other]) == [other]


def test_a_cell_under_another_s_name_does_not_count(tmp_path: Path) -> None:
    store, other = Store(tmp_path), replace(KEY, seed=1)
    store.write(other, CELL)
    store.path(other).rename(store.path(KEY))
    assert store.missing([KEY]) == [KEY]


@pytest.mark.parametrize("keep", [0, 1, 8, 100, 2000, -1])
def test_a_file_cut_anywhere_is_missing(keep: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(KEY, CELL)
    store.path(KEY).write_bytes(store.path(KEY).read_bytes()[:keep])
    assert store.missing([KEY]) == [KEY]
    with pytest.raises(UserError, match="missing or damaged; run geomlab analyze again with --resume"):
        store.read(KEY.file)


def test_a_file_is_looked_into_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, looked, read = Store(tmp_path), [], module._read

    def counted(path: Path) -> xr.Dataset | None:
        looked.append(path)
        return read(path)

    monkeypatch.setattr(module, "_read", counted)
    store.write(KEY, CELL)
    assert store.missing([KEY]) == store.missing([KEY]) == []
    assert len(looked) == 1
    store.write(KEY, CELL)
    assert store.missing([KEY]) == []
    assert len(looked) == 2
    store.path(KEY).write_bytes(bytes(store.path(KEY).stat().st_size))
    assert store.missing([KEY]) == [KEY]


def test_a_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMA", 2)
    Store(tmp_path).write(KEY, CELL)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"written by a newer geomlab \(schema 2\); update geomlab"):
        Store(tmp_path).read(KEY.file)


def test_a_cell_that_cannot_be_trusted_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be computed anew, and written over."""
    store = Store(tmp_path)
    store.write(KEY, CELL)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.xr, "load_dataset", forbidden)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); check its permissions"):
        store.missing([KEY])


def test_a_failed_write_leaves_the_old_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write(KEY, CELL)
    before = store.path(KEY).read_bytes()

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geomlab.files.os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*free the disk"):
        store.write(KEY, CELL.assign(loss=CELL["loss"] * 2))
    assert store.path(KEY).read_bytes() == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == [KEY.file]


def test_two_checkpoints_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    one, two = (write_folder(tmp_path / part, "ft", measurements=["accuracy"]) for part in "ab")
    with pytest.raises(UserError, match="given twice"):
        open_results(one, two, one)
    found = open_results(one, two)
    assert found.checkpoints == ("a-ft", "b-ft")
    assert [found.manifests[name]["checkpoint"]["name"] for name in found.checkpoints] == ["a-ft", "b-ft"]
    assert list(found["accuracy"]["checkpoint"].values) == ["a-ft", "b-ft"]


@pytest.mark.parametrize(
    ("names", "folders", "expected"),
    [
        (["a", "b"], [["x", "x"]], ["a", "b"]),
        (["a", "a", "b"], [["x", "y", "z"]], ["x-a", "y-a", "b"]),
        (["a", "a"], [["x", "x"], ["p", "q"]], ["p-a", "q-a"]),
        (["a", "a", "x-a"], [["x", "y", "z"], ["p", "q", "r"]], ["p-a", "q-a", "x-a"]),
        (["a", "a"], [["", ""], ["p", "q"]], ["p-a", "q-a"]),
        (["a", "a"], [["x", "x"]], ["x-a", "x-a"]),
    ],
)
def test_names_are_told_apart_by_the_first_folders_that_do(
    names: list[str], folders: list[list[str]], expected: list[str]
) -> None:
    assert distinct(names, *folders) == expected


def test_ctrl_c_waits_until_a_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, make, before = [], xr.Dataset.to_netcdf, signal.getsignal(signal.SIGINT)

    def interrupted(dataset: xr.Dataset, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        whole.append(make(dataset, **options))
        return whole[0]

    monkeypatch.setattr(xr.Dataset, "to_netcdf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).write(KEY, CELL)
    assert len(whole) == 1
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    Store(tmp_path).write(KEY, CELL)
    xr.testing.assert_identical(Store(tmp_path).read(KEY.file)["loss"], CELL["loss"])
