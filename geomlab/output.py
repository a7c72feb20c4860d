"""`--out`: which folders results go to, what may lie there, and what is kept until it is replaced."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geomlab.errors import UserError
from geomlab.files import TEMPORARY, is_folder
from geomlab.results import Store
from geomlab.results.cell import NAME
from geomlab.results.names import distinct, given_once
from geomlab.results.store import MANIFEST, REPLACED, set_aside, write_text

COMPARED = "compare.json"  # what a folder of geomlab compare is known by
COMPARISON = "compare"  # the folder beside those of several checkpoints
MOVING = ".replacing"  # the same while they are being moved there
# What may lie in a folder of results. The manifest is the last to be moved: until then the folder is known as ours.
OUTPUTS = ("summary.json", "report.html", "results", "figures", "tables", COMPARISON, MANIFEST)


@dataclass(frozen=True)
class Output:
    """Where the results of one or several checkpoints go.

    Attributes:
        root: the folder the user gave.
        stores: checkpoint name -> its store: `root` itself for one checkpoint, else a subfolder for each.
        drawn: paths of the tables and figures that may be written, within each folder.
    """

    root: Path
    stores: Mapping[str, Store]
    drawn: frozenset[str]

    @classmethod
    def of(cls, root: Path, checkpoints: Sequence[Path], drawn: frozenset[str]) -> "Output":
        """The output of these files.

        Raises:
            UserError: if two of them would have one name, or one the name of a folder of ours.
        """
        names = _names(checkpoints)
        stores = {name: Store(root if len(names) == 1 else root / name) for name in names}
        return cls(root, stores, drawn)

    @property
    def _folders(self) -> list[Path]:
        return list(dict.fromkeys([self.root, *(store.folder for store in self.stores.values())]))

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Look at the folders without changing anything, but for putting back what a kill left half set aside.

        Raises:
            UserError: if one holds files that are not ours, or results not to be touched, or cannot be written.
        """
        if (resume or overwrite) and (self.root / MOVING).exists():
            with _said(self.root):
                self._put_back()
        for folder in self._folders:
            _refuse_foreign(folder)
        begun = _begun(self.root)
        if overwrite and begun:
            self._refuse_guests([*begun, self.root / COMPARISON])
        aside = [name for name in (REPLACED, MOVING) if (self.root / name).exists()]
        if (begun or aside) and not (resume or overwrite):
            raise UserError(f"{self.root}: holds results already; use --resume, --overwrite or another --out")
        ours = [store.folder for store in self.stores.values()]
        strange = [folder for folder in begun if folder not in ours]
        if resume and strange:
            raise UserError(
                f"{strange[0]}: holds a checkpoint that is not among those given; choose another --out"
            )
        _refuse_unwritable(self.root)

    def _refuse_guests(self, folders: Sequence[Path]) -> None:
        """Refuse to move files of others that lie between ours. Hidden ones, and what a link leads to, are no matter.

        Raises:
            UserError: naming some.
        """
        inner = [folder / name for folder in folders for name in ("figures", "tables", "results")]
        guests = [
            path.relative_to(self.root).as_posix()
            for there in inner
            if there.is_dir() and not there.is_symlink()
            for path in sorted(there.iterdir())
            if not path.name.startswith(".") and not self._is_ours(path)
        ]
        if guests:
            raise UserError(
                f"{self.root}: --overwrite would remove files that are not geomlab's ({', '.join(guests[:3])}); move "
                "them elsewhere, or choose another --out"
            )

    def _is_ours(self, path: Path) -> bool:
        is_cell = path.parent.name == "results" and NAME.fullmatch(path.name)
        return path.is_file() and bool(is_cell or f"{path.parent.name}/{path.name}" in self.drawn)

    @contextmanager
    def in_view(self) -> Iterator[None]:
        """Whatever is refused in the block, say where results lie that --overwrite set aside.

        Raises:
            UserError: what the block raises.
        """
        try:
            yield
        except UserError as error:
            raise UserError(f"{error}{set_aside(self.root)}") from error

    @contextmanager
    def writing(self, *, overwrite: bool) -> Iterator[None]:
        """Make room, and let go of what was replaced once all is written."""
        with _said(self.root):
            self._make_room(overwrite=overwrite)
        yield
        with _said(self.root):
            _remove(self.root / REPLACED)

    def _make_room(self, *, overwrite: bool) -> None:
        """Set aside what is to be overwritten, and remove what a kill left half written."""
        begun = _begun(self.root) if overwrite else []
        if begun and (self.root / REPLACED).exists():
            # What is here is only the beginning of a run that was cut off; what it was to replace still lies aside.
            for folder in [*begun, self.root]:
                for name in OUTPUTS:
                    _remove(folder / name)
        elif begun:
            try:
                for folder in dict.fromkeys([*begun, self.root]):
                    for name in OUTPUTS:
                        _move(folder / name, self.root / MOVING / folder.relative_to(self.root) / name)
            except OSError:
                self._put_back()
                raise
            (self.root / MOVING).rename(self.root / REPLACED)
        for folder in begun:
            if folder not in self._folders and not any(folder.iterdir()):
                folder.rmdir()
        for folder in self._folders:
            for path in [*folder.glob(f"{TEMPORARY}*"), *folder.glob(f"*/{TEMPORARY}*")]:
                _remove(path)

    def _put_back(self) -> None:
        """Undo a set-aside that was not finished."""
        moving = self.root / MOVING
        for path in sorted(moving.rglob("*"), key=lambda path: len(path.parts)):
            if path.name in OUTPUTS and not (self.root / path.relative_to(moving)).exists():
                _move(path, self.root / path.relative_to(moving))
        _remove(moving)


def begin_comparison(out: Path, compared: Sequence[Path], *, overwrite: bool) -> None:
    """Make a folder one of a comparison; where it is one of the same folders already, that is drawn anew.

    Args:
        out: the folder.
        compared: the folders of results, recorded in `compare.json`.
        overwrite: whether a comparison of other folders may be replaced.

    Raises:
        UserError: if it holds results, other files, or a comparison that is not to be replaced.
    """
    if _begun(out):
        raise UserError(f"{out}: holds results of geomlab analyze; choose another --out for the comparison")
    names = (
        {path.name for path in out.iterdir() if not path.name.startswith(".")}
        if is_folder(str(out))
        else set()
    )
    if names and (COMPARED not in names or not names <= {COMPARED, "report.html", "figures", "tables"}):
        raise UserError(
            f"{out}: holds other files ({', '.join(sorted(names)[:3])}); choose an empty or a new --out"
        )
    _refuse_unwritable(out)
    marker, content = out / COMPARED, json.dumps({"folders": [str(path.resolve()) for path in compared]})
    if names and not overwrite:
        with _said(out):
            before = marker.read_bytes()
        if before != content.encode():
            raise UserError(f"{out}: holds a comparison of other folders; use --overwrite, or another --out")
    write_text(marker, content)


def _begun(root: Path) -> list[Path]:
    """The folder and its subfolders, so far as a run began there."""
    below = [folder for folder in root.glob("*") if not folder.name.startswith(".")]
    return [folder for folder in (root, *below) if (folder / MANIFEST).is_file()]


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that cannot be read, or that holds files which are not ours. Hidden files count for neither.

    Names alone tell nothing: a paper has its `figures/` too. Without a `study.json` everything is foreign.
    """
    try:
        found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be used as --out ({error.strerror}); choose another folder"
        ) from error
    begun = _begun(folder)
    allowed = {*(OUTPUTS if begun else ()), *(path.name for path in begun)}
    foreign = [name for name in found if name not in allowed and not name.startswith(".")]
    if foreign:
        raise UserError(
            f"{folder}: holds other files ({', '.join(foreign[:3])}); choose an empty or a new --out"
        )


def _refuse_unwritable(folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = f"no permission to write in {there}" if there.is_dir() else f"{there} is not a folder"
        raise UserError(f"{folder}: cannot be used as --out ({why}); choose another folder")


@contextmanager
def _said(root: Path) -> Iterator[None]:
    """What the file system refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or root}: cannot be moved or removed ({error.strerror}); choose another --out"
        ) from error


def _move(path: Path, to: Path) -> None:
    if os.path.lexists(path):
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _names(paths: Sequence[Path]) -> list[str]:
    """A name a checkpoint: the file's, with its folder's in front where that is not unique."""
    stems = [path.stem.lstrip(".") for path in paths]  # a hidden folder would be no results
    given_once(paths)
    names = distinct(stems, [path.resolve().parent.name for path in paths])
    twice = sorted({name for name in names if names.count(name) > 1})
    taken = [name for name in names if name in OUTPUTS] if len(names) > 1 else []
    if taken:
        raise UserError(
            f"a checkpoint named '{taken[0]}' would lie where geomlab writes its own {taken[0]}; rename the file"
        )
    if twice:
        raise UserError(
            f"two checkpoints would be named {', '.join(twice)}; rename a file, or analyse them apart"
        )
    return names
