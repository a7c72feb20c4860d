"""`folder:ROOT` and `domains:ROOT`: image files on disk."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.rng import derive_seed
from geomlab.spec import escape
from geomlab.typing import Float, Images

TEST_SHARE = 0.2
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")  # modes of Pillow


class DomainFolders(Source):
    """`ROOT/<domain>/<class>/<image>`, as PACS and its kin are laid out.

    Args:
        spec: the SPEC as given.
        roots: domain -> folder of class folders; the first is in-distribution.
        split: `test`, a fifth of the files chosen by their names alone, `train`, the others, or None for all.

    Raises:
        UserError: if a folder is missing, domains do not have the same classes, or there is no such split.
    """

    def __init__(self, spec: str, roots: dict[str, Path], split: str | None = None) -> None:
        self.spec = spec
        self._roots = roots
        self._split = split
        if split not in (None, "train", "test"):
            raise UserError(f"'{spec}': split is train or test; without it all files are taken")
        self._found: dict[str, list[Path]] = {}
        self.domains = tuple(roots)
        first = self.domains[0]
        self.classes = tuple(subfolders(roots[first]))
        for root in roots.values():
            differ = sorted(set(subfolders(root)) ^ set(self.classes))
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
        names = np.array([f"{domain}/{file.parent.name}/{file.name}" for file in files])
        number = {name: i for i, name in enumerate(self.classes or ())}
        return Index(names, np.array([number[file.parent.name] for file in files], dtype=np.int64))

    def images(self, domain: str, rows: NDArray[np.intp], size: int | None) -> Images:
        """Shorter side resized to `size` (bicubic), centre crop; without `size` all files must be equally large."""
        files = self._files(domain)
        return read_images([files[row] for row in rows], size)

    def _files(self, domain: str) -> list[Path]:
        if domain not in self._found:
            files = image_files(self._roots[domain])
            self._found[domain] = [file for file in files if self._split in (None, _split_of(domain, file))]
        return self._found[domain]


def _split_of(domain: str, file: Path) -> str:
    """`test` for a fifth of the files, by a number made of domain, class and name: it stays as files come and go."""
    place = derive_seed(0, "split", domain, file.parent.name, file.name) / 2**63
    return "test" if place < TEST_SHARE else "train"


def open_folder(spec: str, root: str, split: str | None = None) -> DomainFolders:
    """`folder:ROOT`, ROOT holding a folder a class.

    Raises:
        UserError: if ROOT is no such folder.
    """
    return DomainFolders(spec, {"id": _folder_of_folders(spec, root)}, split)


def open_domains(spec: str, root: str, first: str | None, split: str | None = None) -> DomainFolders:
    """`domains:ROOT,id=DOMAIN`, ROOT holding a folder a domain; without `id` the first by name.

    Raises:
        UserError: if ROOT is no such folder or has no such domain.
    """
    folder = _folder_of_folders(spec, root)
    names = subfolders(folder)
    first = names[0] if first is None else first
    if first not in names:
        raise UserError(f"'{spec}': no domain '{first}'; there are {', '.join(names)}")
    roots = {name: folder / name for name in [first, *(n for n in names if n != first)]}
    return DomainFolders(spec, roots, split)


def read_images(files: Sequence[Path], size: int | None) -> Images:
    """Decode image files to RGB in [0, 1].

    Raises:
        UserError: naming a file that cannot be decoded or has more than 8 bits a channel, or a folder whose images
            have several sizes where none was asked for.
    """
    images = [_read(file, size) for file in files]
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise UserError(
            f"{files[0].parent}: images of {len(shapes)} sizes, and the network does not say its own"
        )
    return torch.stack(images)


def _read(file: Path, size: int | None) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                image = rgb(opened)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except Exception as error:  # Pillow's readers raise anything on a damaged file
        raise UserError(f"{file}: not a readable image ({error}); repair or remove it") from error
    return fit(image, size)


def rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel as RGB.

    Raises:
        UserError: if it has more bits: Pillow would cut the values off at 255, not scale them.
    """
    if image.mode not in _EIGHT_BITS:
        raise UserError(
            f"an image of mode {image.mode}, expected 8 bits a channel ({', '.join(_EIGHT_BITS)}); convert it first"
        )
    return image.convert("RGB")


def fit(image: Image.Image, size: int | None) -> Float[Tensor, "3 h w"]:
    """An RGB image as a tensor in [0, 1]: shorter side resized to `size` (bicubic), centre crop."""
    if size is not None and image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).float() / 255


def existing(spec: str, root: str) -> Path:
    """The folder a SPEC names.

    Raises:
        UserError: if there is none.
    """
    if not root:
        raise UserError(f"'{spec}': says no folder; write {spec.partition(':')[0]}:ROOT")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"'{spec}': no folder {folder}; give the path of the images' root folder")
    return folder


def entries(root: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden files.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error


def subfolders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted."""
    return [path.name for path in entries(root) if path.is_dir()]


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by its ending."""
    return path.suffix.lower() in _SUFFIXES


def image_files(root: Path) -> list[Path]:
    """The image files of all class folders, by class and name.

    Raises:
        UserError: if there are none.
    """
    files = [file for name in subfolders(root) for file in entries(root / name) if is_image(file)]
    if not files:
        raise UserError(f"{root}: no image files in its class folders ({', '.join(sorted(_SUFFIXES))})")
    return files


def _folder_of_folders(spec: str, root: str) -> Path:
    folder = existing(spec, root)
    if not subfolders(folder):
        raise UserError(
            f"'{spec}': {folder} holds no folders; expected one a class (folder:) or a domain (domains:)"
        )
    return folder
