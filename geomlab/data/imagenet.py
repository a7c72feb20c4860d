"""`imagenet:ROOT`: the images of ILSVRC-2012, or of some of its classes, and the sets beside them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Size
from geomlab.data.decode import read_images
from geomlab.data.folders import existing, image_files, is_image
from geomlab.data.imagenet_sets import BORDER, Listing, classes_of, found_beside
from geomlab.data.places import Limits, Place, limits_of
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.spec import Spec
from geomlab.typing import Images


class ImageNet(Source):
    """`ROOT/<split>/<wnid>/<image>`, or `ROOT/<wnid>/<image>` where there is no folder `val`.

    A label is the position of the wnid among the 1,000 sorted ones, so that a folder of a few classes (Imagenette)
    fits a head of 1,000. Class names and the 80 templates are those of CLIP (Radford et al. 2021), as open_clip has
    them. The further domains are the sets that lie beside the folder, `imagenet_sets`.

    Args:
        spec: the SPEC.

    Raises:
        UserError: if the folder is missing, its images are not sorted into folders, or a folder is no class; so of
            the sets beside it.
    """

    def __init__(self, spec: Spec) -> None:
        import open_clip

        self.spec = spec.text
        self.classes = tuple(open_clip.IMAGENET_CLASSNAMES)
        self.templates = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
        self._limits: Limits = limits_of(spec)
        self.skip = self._limits.skip
        self._number = {wnid: number for number, wnid in enumerate(wnids())}
        given, split = existing(spec, 1), spec.option("split") or "val"
        folder = given.inside(split)
        if split not in ("val", "train") or (split == "train" and folder is None):
            raise UserError(
                f"'{spec.text}': no folder {given}/{split}; split is val or train, each a folder of ROOT"
            )
        self._folder = folder or given
        self._check(self._folder)
        beside = found_beside(spec, given if folder else None)
        self._sets = {name: classes_of(name, place, self._number) for name, place in beside.items()}
        self.groups = {name: one.groups for name, one in self._sets.items() if one.groups}
        self.domains = ("id", *self._sets)
        if self._sets:
            self.conditions = ("clean", "pgd", *(f"domain:{name}" for name in list(self._sets)[:3]))
        self._found: dict[str, list[tuple[str, Place]]] = {}

    def list_samples(self, domain: str) -> Index:
        """Files by class and name; ids are `<wnid>/<image>`, with the set's name before them."""
        files = self._files(domain)
        number = self._listing(domain).labels
        prefix = "" if domain == "id" else f"{domain}/"
        return Index(
            np.array([f"{prefix}{folder}/{file.name}" for folder, file in files]),
            np.array([number[folder] for folder, _ in files], dtype=np.int64),
        )

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """Resized and cut as `size` says, as CLIP does; of ObjectNet without its border."""
        files = self._files(domain)
        border = BORDER if domain == "objectnet" else 0
        return read_images([files[row][1] for row in rows], size, self._limits, border=border)

    def _listing(self, domain: str) -> Listing:
        return Listing(self._folder, self._number) if domain == "id" else self._sets[domain]

    def _files(self, domain: str) -> list[tuple[str, Place]]:
        if domain not in self._found:
            self._found[domain] = list(self._listed_files(self._listing(domain)))
        return self._found[domain]

    @staticmethod
    def _listed_files(listing: Listing) -> Iterator[tuple[str, Place]]:
        for folder, file in image_files(listing.root):
            if folder in listing.labels:
                yield folder, file

    def _check(self, folder: Place) -> None:
        loose = [place for place in folder.entries() if is_image(place)]
        if loose:
            raise UserError(
                f"'{self.spec}': {len(loose)} images of {folder} are in no class folder; sort them into one a wnid, "
                "as torchvision.datasets.ImageNet(ROOT, split='val') does with the downloaded archives in ROOT"
            )
        names = [place.name for place in folder.folders()]
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
