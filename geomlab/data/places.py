"""Where image files lie: a folder on disk, or the inside of an archive, both untrusted."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geomlab.errors import UserError
from geomlab.spec import Spec, flag, integer

PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb
SKIP = 100  # ours: more than that is no accident
COSTS = ("pixels", "skip")
OPTIONS = (*COSTS, "links")


@contextmanager
def nameable(spec: Spec, what: str) -> Iterator[None]:
    """Say in one line that the file system takes no such name: too long, with a NUL, or of an unknown ~user.

    Args:
        spec: of the source.
        what: the part of the SPEC that names it.

    Raises:
        UserError: if a path is asked for that cannot be.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"'{spec.text}': no path can be so named ({error}); check {what}") from error


@dataclass(frozen=True)
class Limits:
    """What files may cost; the user can raise each.

    Attributes:
        pixels: of an image, as its header declares them and as it is resized.
        skip: how many unreadable images of a domain are passed over.
        links: whether symbolic links may lead out of the root.
    """

    pixels: int = PIXELS
    skip: int = SKIP
    links: bool = False

    @property
    def bytes(self) -> int:
        """Of a file: what its pixels take uncompressed with four channels, and a mebibyte for the rest."""
        return 4 * self.pixels + (1 << 20)


def limits_of(spec: Spec) -> Limits:
    """The limits that a data SPEC names: `pixels=…,skip=…,links=yes`.

    Raises:
        UserError: if one is no such number, or links is neither yes nor no.
    """
    return Limits(integer(spec, "pixels", PIXELS), integer(spec, "skip", SKIP, least=0), flag(spec, "links"))


class CannotRead(Exception):
    """A file that gives no bytes, or too many; says why."""


class Place(ABC):
    """A file or a folder."""

    name: str
    is_folder: bool

    @abstractmethod
    def entries(self) -> list["Place"]:
        """What is in a folder, sorted, without hidden files.

        Raises:
            UserError: if it cannot be read, or a link in it leads out of the root.
        """

    @abstractmethod
    def read(self, most: int) -> bytes:
        """The bytes of a file.

        Args:
            most: bytes it may have.

        Raises:
            CannotRead: if it cannot be read, or has more.
        """

    def folders(self) -> list["Place"]:
        """The folders in a folder, sorted."""
        return [place for place in self.entries() if place.is_folder]

    def inside(self, name: str) -> "Place | None":
        """A folder of a folder, None where there is none of that name."""
        return next((place for place in self.folders() if place.name == name), None)


class OnDisk(Place):
    """A path below a root folder.

    Args:
        path: of the file or folder.
        root: of all; its real path.
        links: whether symbolic links may lead out of it.
        is_folder: what the path is.
    """

    def __init__(self, path: Path, root: Path, *, links: bool = False, is_folder: bool = True) -> None:
        self.name = path.name
        self.is_folder = is_folder
        self._path = path
        self._root = root
        self._links = links

    def entries(self) -> list[Place]:
        """As said above; one call of the system, not one a file: ImageNet has 1.3 million."""
        try:
            with os.scandir(self._path) as found:
                return sorted(
                    (self._below(entry) for entry in found if not entry.name.startswith(".")),
                    key=lambda place: place.name,
                )
        except OSError as error:
            raise UserError(f"{self}: cannot be read ({error.strerror}); check its permissions") from error

    def _below(self, entry: "os.DirEntry[str]") -> "OnDisk":
        path = self._path / entry.name
        if entry.is_symlink() and not self._links and not _real(path).is_relative_to(self._root):
            raise UserError(
                f"{printable(str(path))}: a symbolic link that leads out of {self._root} or in a circle; if you trust "
                "it, add links=yes to the SPEC"
            )
        return OnDisk(path, self._root, links=self._links, is_folder=entry.is_dir())

    def read(self, most: int) -> bytes:
        """As said above; what is no file, a pipe for example, is not waited for."""
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise CannotRead("no regular file")
            with self._path.open("rb") as file:
                return checked(file.read(most + 1), most)
        except OSError as error:
            raise CannotRead(error.strerror or str(error)) from error

    def __str__(self) -> str:
        return printable(str(self._path))


def checked(data: bytes, most: int) -> bytes:
    """Bytes of a file, of which at most one more than allowed was read.

    Raises:
        CannotRead: if there are more than allowed.
    """
    if len(data) > most:
        raise CannotRead(f"more than {most:,} bytes; raise pixels= in the SPEC if you trust it")
    return data


def printable(text: str) -> str:
    """Text that others chose, as it may be shown: no control characters, no half of a character."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop
        return Path("/")
