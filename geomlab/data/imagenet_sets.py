"""The sets that are measured beside ImageNet, where they lie beside it on disk, and which classes they have.

ImageNetV2 (Recht et al. 2019), -Sketch (Wang et al. 2019), -R (Hendrycks et al. 2021, 2006.16241), -A (Hendrycks et al.
2021, 1907.07174), -A-Plus (2102.11731: the objects of -A, cut out; in class folders as -A's),
ObjectNet (Barbu et al. 2019).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomlab.data.archives import open_place
from geomlab.data.places import CannotRead, Place, limits_of
from geomlab.errors import UserError
from geomlab.spec import Spec

SETS: Mapping[str, tuple[str, ...]] = {
    "v2": (
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2-matched-frequency",
        "imagenet-v2",
        "imagenetv2",
    ),
    "sketch": ("imagenet-sketch", "sketch"),
    "r": ("imagenet-r",),
    "a": ("imagenet-a",),
    "a-plus": ("imagenet-a-plus", "imagenet-a+"),
    "objectnet": ("objectnet-1.0", "objectnet"),
}
"""Domain -> names its folder may have, in small letters: those that the archives unpack to first."""

BORDER = 2  # pixels of ObjectNet's images to be cut off: a red frame that marks them as test images
_NAMES = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)
_MAPPINGS = 1 << 22  # bytes of a file of ObjectNet's mappings, which has 60 thousand


@dataclass(frozen=True)
class Listing:
    """Where a set's images are, and what they show.

    Attributes:
        root: the folder of class folders.
        labels: class folder -> number of its class; other folders are not read.
        groups: as `Source.groups`; empty for all classes.
    """

    root: Place
    labels: Mapping[str, int]
    groups: tuple[tuple[int, ...], ...] = ()


def found_beside(spec: Spec, root: Place | None) -> dict[str, Place]:
    """The folders or archives of the sets that lie beside ROOT or, where its images are in a folder of it, in ROOT.

    Args:
        spec: the SPEC, which names ROOT.
        root: ROOT, None where it is the folder of class folders itself.

    Raises:
        UserError: if an archive among them is not to be trusted.
    """
    parent = Path(spec.positional).expanduser().resolve().parent
    links = limits_of(spec).links
    within = {place.name.lower(): place for place in root.folders()} if root else {}
    beside = {path.name.lower(): path for path in parent.iterdir()} if os.access(parent, os.R_OK) else {}
    found: dict[str, Place] = {}
    for domain, names in SETS.items():
        for name in (name + ending for name in names for ending in ("", ".tar", ".zip")):
            place = within.get(name)
            if place is None and name in beside:
                place = open_place(beside[name], 1, links=links)
            if place is not None:
                found.setdefault(domain, place)
    return found


def classes_of(domain: str, root: Place, number: Mapping[str, int]) -> Listing:
    """What the class folders of a set mean.

    Args:
        domain: a key of `SETS`.
        root: the set's folder.
        number: wnid -> class.

    Raises:
        UserError: if a folder is no class, or ObjectNet lacks its mappings.
    """
    if domain == "objectnet":
        return _objectnet(root)
    names = [place.name for place in root.folders()]
    labels = {str(i): i for i in range(len(number))} if domain == "v2" else dict(number)
    strangers = [name for name in names if name not in labels]
    if strangers or not names:
        form = "0 to 999" if domain == "v2" else "n01440764 and on"
        raise UserError(
            f"{root}: {', '.join(strangers[:5]) or 'no folder'} is no class of it; expected {form}, or another name "
            "for what is no such set"
        )
    if domain in ("v2", "sketch"):
        return Listing(root, labels)
    there = sorted(labels[name] for name in names)
    return Listing(root, labels, tuple((label,) for label in there))


def _objectnet(root: Place) -> Listing:
    """ObjectNet's own files say which of its folders are which of ImageNet's classes: some are several of them."""
    images, mappings = root.inside("images"), root.inside("mappings")
    if images is None or mappings is None:
        raise UserError(f"{root}: no folders images and mappings; expected both, as ObjectNet comes")
    files = {place.name: place for place in mappings.entries()}
    try:
        texts = [files[name].read(_MAPPINGS).decode() for name in _NAMES]
        titles, shared, place = (_texts(json.loads(text)) for text in texts[:3])
        lines = [line.strip() for line in texts[3].splitlines()]
        number = {lines[int(line)]: int(one) for one, line in place.items()}  # ImageNet's words -> class
        groups = {
            folder: tuple(sorted(number[word.strip()] for word in shared[title].split(";")))
            for folder, title in titles.items()
            if title in shared
        }
        every = [label for group in groups.values() for label in group]
        if len(set(every)) < len(every) or not every:
            raise ValueError("a class is in none of its objects, or in two")
    except (CannotRead, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(
            f"{mappings}: not ObjectNet's own mappings ({type(error).__name__}: {error}); expected {', '.join(_NAMES)}"
        ) from error
    labels = {folder: group[0] for folder, group in groups.items()}
    return Listing(images, labels, tuple(sorted(groups.values())))


def _texts(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise TypeError(f"a {type(given).__name__} where a dict was expected")
    return {str(key): str(value) for key, value in given.items()}
