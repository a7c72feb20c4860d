"""Archives read in place: nothing is unpacked to disk, and every member is checked before any is read."""

import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock

from geomlab.data.places import CannotRead, OnDisk, Place, checked, printable
from geomlab.errors import UserError

_COMPRESSED = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_TOP = PurePosixPath()


def open_place(path: Path, depth: int, *, links: bool) -> Place | None:
    """A folder, or the inside of an archive; None where there is neither.

    Args:
        path: of it.
        depth: levels of folders it holds. An archive may have one more around them, which is entered.
        links: whether a folder's symbolic links may lead out of it.

    Raises:
        UserError: as `open_archive`.
    """
    if path.is_file() and path.name.lower().endswith((".tar", ".zip", *_COMPRESSED)):
        return _entered(open_archive(path), depth)
    return OnDisk(path, path.resolve(), links=links) if path.is_dir() else None


def _entered(top: Place, depth: int) -> Place:
    folders = top.folders()
    level = folders
    for _ in range(depth):
        level = [inner for place in level for inner in place.folders()]
    return folders[0] if len(folders) == 1 and level else top


def open_archive(path: Path) -> "InArchive":
    """The top folder of an archive.

    Raises:
        UserError: if it is no such archive, is compressed as a whole, or holds a link, a device, a path that leads
            out of it, two members of one name, or an encrypted one.
    """
    name = path.name.lower()
    if name.endswith(_COMPRESSED):
        raise UserError(
            f"{path}: a tar compressed as a whole gives no single image; decompress it to a .tar (gunzip, unxz)"
        )
    with _reading(path):
        return InArchive(_Zip(path) if name.endswith(".zip") else _Tar(path), _TOP)


class InArchive(Place):
    """A file or a folder in an archive.

    Args:
        archive: in which.
        path: of it there.
    """

    def __init__(self, archive: "_Archive", path: PurePosixPath) -> None:
        self.name = path.name
        self.is_folder = path in archive.folders
        self._archive = archive
        self._path = path

    def entries(self) -> list[Place]:
        """As of any place; known since the archive was opened."""
        return [InArchive(self._archive, self._path / name) for name in self._archive.folders[self._path]]

    def read(self, most: int) -> bytes:
        """As of any place."""
        try:
            return checked(self._archive.read(self._path, most + 1), most)
        except CannotRead:
            raise
        except Exception as error:  # the readers of zip and tar raise anything on a damaged file
            raise CannotRead(str(error) or type(error).__name__) from error

    def __str__(self) -> str:
        return printable(f"{self._archive.path}/{self._path}")


class _Archive(ABC):
    """The files of an archive.

    Attributes:
        path: of the archive.
        folders: names in each folder, sorted, without hidden ones.
    """

    def __init__(self, path: Path, files: Iterable[PurePosixPath]) -> None:
        self.path = path
        found: dict[PurePosixPath, set[str]] = defaultdict(set, {_TOP: set()})
        names = set(files)
        for child in names:
            while child != _TOP and child.name not in found[child.parent]:
                found[child.parent].add(child.name)
                child = child.parent
        both = names & found.keys()
        if both:
            raise UserError(
                f"{path}: {str(min(both))!a} is a file and a folder in one; write the archive again"
            )
        self.folders = {
            folder: sorted(name for name in inside if not name.startswith("."))
            for folder, inside in found.items()
        }

    @abstractmethod
    def read(self, member: PurePosixPath, most: int) -> bytes:
        """At most so many bytes of a file."""


class _Tar(_Archive):
    """A tar that is not compressed: a file's bytes are a stretch of it."""

    def __init__(self, path: Path) -> None:
        self._where: dict[PurePosixPath, tuple[int, int]] = {}
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = _checked_name(path, member.name)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    kind = "a link" if member.issym() or member.islnk() else "no regular file"
                    raise UserError(
                        f"{path}: member {member.name!a} is {kind}; only files and folders are read"
                    )
                _once(path, name, self._where)
                self._where[name] = member.offset_data, member.size
        super().__init__(path, self._where)

    def read(self, member: PurePosixPath, most: int) -> bytes:
        start, size = self._where[member]
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(min(size, most))
        if len(data) < min(size, most):
            raise CannotRead("the archive ends before it")
        return data


class _Zip(_Archive):
    """A zip, whose members may each be compressed: no more of one is decompressed than may be read."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)  # stays open: its list is at the end, and long
        self._lock = Lock()
        self._where: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = _checked_name(path, info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                what = "a link" if kind == stat.S_IFLNK else "no regular file"
                raise UserError(
                    f"{path}: member {info.orig_filename!a} is {what}; only files and folders are read"
                )
            if info.flag_bits & 1:
                raise UserError(
                    f"{path}: member {info.orig_filename!a} is encrypted; write the archive without a password"
                )
            _once(path, name, self._where)
            self._where[name] = info
        super().__init__(path, self._where)

    def read(self, member: PurePosixPath, most: int) -> bytes:
        with self._lock, self._zip.open(self._where[member]) as file:
            return file.read(most)


def _checked_name(archive: Path, name: str) -> PurePosixPath:
    """A member's name as a path below the archive's top."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise UserError(f"{archive}: member {name!a} leads out of the archive; do not use it")
    return path


def _once(archive: Path, name: PurePosixPath, seen: Iterable[PurePosixPath]) -> None:
    if name in seen:
        raise UserError(f"{archive}: two members are named {str(name)!a}; write the archive again")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the readers of zip and tar raise anything on a damaged file
        raise UserError(
            f"{archive}: not a readable .tar or .zip ({str(error) or type(error).__name__}); fetch or write it again"
        ) from error
