"""`folder:ROOT` and `domains:ROOT`: image files on disk or in an archive."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Size
from geomlab.data import decode
from geomlab.data.archives import open_place
from geomlab.data.decode import read_images
from geomlab.data.places import Limits, Place, limits_of, nameable
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.rng import derive_seed
from geomlab.spec import Spec, escape
from geomlab.typing import Images

TEST_SHARE = 0.2


class DomainFolders(Source):
    """`ROOT/<domain>/<class>/<image>`, as PACS and its kin are laid out.

    Args:
        spec: the SPEC as given.
        roots: domain -> folder of class folders; the first is in-distribution.
        split: `test`, a fifth of the files chosen by their names alone, `train`, the others, or None for all.
        limits: what the files may cost.

    Raises:
        UserError: if a folder is missing, domains do not have the same classes, or there is no such split.
    """

    def __init__(self, spec: str, roots: Mapping[str, Place], split: str | None, limits: Limits) -> None:
        self.spec = spec
        self.skip = limits.skip
        self._limits = limits
        self._roots = roots
        self._split = split
        if split not in (None, "train", "test"):
            raise UserError(f"'{spec}': split is train or test; without it all files are taken")
        self._found: dict[str, list[tuple[str, Place]]] = {}
        self.domains = tuple(roots)
        first = self.domains[0]
        self.classes = tuple(place.name for place in roots[first].folders())
        for root in roots.values():
            differ = sorted({place.name for place in root.folders()} ^ set(self.classes))
            if differ:
                more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
                raise UserError(
                    f"{root}: its class folders differ from those of '{first}' in {', '.join(differ[:5])}{more}; "
                    "every domain must have the same"
                )
        shifts = tuple(f"domain:{escape(domain)}" for domain in self.domains[1:4])
        self.conditions = ("clean", "pgd", *(shifts or ("corruption:gaussian_noise,severity=3",)))

    def list_samples(self, domain: str) -> Index:
        """Files in sorted order; ids are paths below the root, so no two domains share a sample."""
        files = self._files(domain)
        names = np.array([f"{domain}/{folder}/{file.name}" for folder, file in files])
        number = {name: i for i, name in enumerate(self.classes or ())}
        return Index(names, np.array([number[folder] for folder, _ in files], dtype=np.int64))

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """Resized and cut as `size` says; without `size` all files must be equally large."""
        files = self._files(domain)
        return read_images([files[row][1] for row in rows], size, self._limits)

    def _files(self, domain: str) -> list[tuple[str, Place]]:
        if domain not in self._found:
            self._found[domain] = [
                (folder, file)
                for folder, file in image_files(self._roots[domain])
                if self._split in (None, _split_of(domain, folder, file.name))
            ]
        return self._found[domain]


def _split_of(domain: str, folder: str, file: str) -> str:
    """`test` for a fifth of the files, by a number made of domain, class and name: it stays as files come and go."""
    place = derive_seed(0, "split", domain, folder, file) / 2**63
    return "test" if place < TEST_SHARE else "train"


def open_folder(spec: Spec) -> DomainFolders:
    """`folder:ROOT`, ROOT holding a folder a class.

    Raises:
        UserError: if ROOT is no such folder or archive.
    """
    return DomainFolders(spec.text, {"id": _of_folders(spec, 1)}, spec.option("split"), limits_of(spec))


def open_domains(spec: Spec) -> DomainFolders:
    """`domains:ROOT,id=DOMAIN`, ROOT holding a folder a domain; without `id` the first by name.

    Raises:
        UserError: if ROOT is no such folder or archive, or has no such domain.
    """
    places = {place.name: place for place in _of_folders(spec, 2).folders()}
    first = spec.option("id", next(iter(places))) or ""
    if first not in places:
        raise UserError(f"'{spec.text}': no domain '{first}'; there are {', '.join(places)}")
    roots = {first: places[first], **places}
    return DomainFolders(spec.text, roots, spec.option("split"), limits_of(spec))


def existing(spec: Spec, depth: int) -> Place:
    """The folder or archive that a SPEC names.

    Args:
        spec: the SPEC.
        depth: levels of folders it holds. An archive may have one more around them, which is entered.

    Raises:
        UserError: if there is none, or an archive is not to be trusted.
    """
    if not spec.positional:
        raise UserError(f"'{spec.text}': says no folder; write {spec.head}:ROOT")
    with nameable(spec, "ROOT"):
        path = Path(spec.positional).expanduser()
        place = open_place(path, depth, links=limits_of(spec).links)
    if place is None:
        raise UserError(
            f"'{spec.text}': no folder {path}, nor an archive (.tar, .zip); give the path of the images' root folder"
        )
    return place


def image_files(root: Place) -> list[tuple[str, Place]]:
    """The image files of all class folders, each with its folder's name, by class and name.

    Raises:
        UserError: if there are none.
    """
    files = [(folder.name, file) for folder in root.folders() for file in folder.entries() if is_image(file)]
    if not files:
        raise UserError(f"{root}: no image files in its class folders ({', '.join(decode.SUFFIXES)})")
    return files


def is_image(place: Place) -> bool:
    """Whether a file is taken for an image, by its ending."""
    return not place.is_folder and bool(decode.suffix(place.name))


def _of_folders(spec: Spec, depth: int) -> Place:
    root = existing(spec, depth)
    if not root.folders():
        raise UserError(
            f"'{spec.text}': {root} holds no folders; expected one a class (folder:) or a domain (domains:)"
        )
    return root
