"""`imagenet:ROOT`: the images of ILSVRC-2012, or of some of its classes."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomlab.data.folders import entries, existing, image_files, is_image, read_images, subfolders
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.typing import Images


class ImageNet(Source):
    """`ROOT/<split>/<wnid>/<image>`, or `ROOT/<wnid>/<image>` where there is no folder `val`.

    A label is the position of the wnid among the 1,000 sorted ones, so that a folder of a few classes (Imagenette)
    fits a head of 1,000. Class names and the 80 templates are those of CLIP (Radford et al. 2021), as open_clip has
    them.

    Args:
        spec: the SPEC as given.
        root: ROOT.
        split: `val` or `train`.

    Raises:
        UserError: if the folder is missing, its images are not sorted into folders, or a folder is no class.
    """

    domains = ("id",)

    def __init__(self, spec: str, root: str, split: str = "val") -> None:
        import open_clip

        self.spec = spec
        self.classes = tuple(open_clip.IMAGENET_CLASSNAMES)
        self.templates = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
        self._number = {wnid: number for number, wnid in enumerate(wnids())}
        given = existing(spec, root)
        self._folder = given / split if (given / split).is_dir() else given
        if split not in ("val", "train") or (split == "train" and self._folder == given):
            raise UserError(
                f"'{spec}': no folder {given / split}; split is val or train, each a folder of ROOT"
            )
        self._check(self._folder)

    def list_samples(self, domain: str) -> Index:
        """Files by class and name; ids are `<wnid>/<image>`."""
        files = self._files
        labels = [self._number[file.parent.name] for file in files]
        return Index(
            np.array([f"{file.parent.name}/{file.name}" for file in files]), np.array(labels, dtype=np.int64)
        )

    def images(self, domain: str, rows: NDArray[np.intp], size: int | None) -> Images:
        """Shorter side resized to `size` (bicubic), centre crop, as CLIP does."""
        return read_images([self._files[row] for row in rows], size)

    @cached_property
    def _files(self) -> list[Path]:
        return image_files(self._folder)

    def _check(self, folder: Path) -> None:
        loose = [path for path in entries(folder) if is_image(path)]
        if loose:
            raise UserError(
                f"'{self.spec}': {len(loose)} images of {folder} are in no class folder; sort them into one a wnid, "
                "as torchvision.datasets.ImageNet(ROOT, split='val') does with the downloaded archives in ROOT"
            )
        names = subfolders(folder)
        if not names:
            raise UserError(
                f"'{self.spec}': {folder} holds no folders; expected one a class, n01440764 and on"
            )
        strangers = [name for name in names if name not in self._number]
        if strangers:
            raise UserError(
                f"'{self.spec}': {', '.join(strangers[:5])} in {folder} is no class of ILSVRC-2012; expected "
                "folders such as n01440764, or a folder val of those; for other classes there is folder:ROOT"
            )


def wnids() -> tuple[str, ...]:
    """The 1,000 WordNet ids of ILSVRC-2012, sorted: the order in which networks number the classes."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())
