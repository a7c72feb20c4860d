"""`torchvision:NAME`: a classification set of torchvision, and what CLIP is asked about eight of them."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from geomlab import architectures
from geomlab.data.arrays import Arrays
from geomlab.data.decode import limited
from geomlab.data.places import COSTS, limits_of
from geomlab.errors import UserError
from geomlab.spec import Spec, flag

OPTIONS = ("root", "split", "download", *COSTS)

_A_PHOTO = ("a photo of a {}.", "a blurry photo of a {}.", "a black and white photo of a {}.",
            "a low contrast photo of a {}.", "a high contrast photo of a {}.", "a bad photo of a {}.",
            "a good photo of a {}.", "a photo of a small {}.", "a photo of a big {}.")  # fmt: skip
_MEDIA = ("a photo of a {}.", "a painting of a {}.", "a plastic {}.", "a sculpture of a {}.", "a sketch of a {}.",
          "a tattoo of a {}.", "a toy {}.", "a rendition of a {}.", "a embroidered {}.", "a cartoon {}.",
          "a {} in a video game.", "a plushie {}.", "a origami {}.", "art of a {}.", "graffiti of a {}.",
          "a drawing of a {}.", "a doodle of a {}.")  # fmt: skip
_TEXTURE = tuple(f"a photo of a {{}} {word}." for word in ("texture", "pattern", "thing", "object"))


def _the(templates: tuple[str, ...]) -> tuple[str, ...]:
    """The same of one that is known: "a {}" as "the {}", and what begins with "a" as with "the"."""
    return tuple(
        text.replace("of a ", "of the ") if "of a " in text else text.replace("a ", "the ", 1)
        for text in templates
    )


TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Caltech101": (*_MEDIA, *_the(_MEDIA)),
        "CIFAR10": (*_A_PHOTO, *_the(_A_PHOTO)),
        "CIFAR100": (*_A_PHOTO, *_the(_A_PHOTO)),
        "DTD": (*_TEXTURE, *_the(_TEXTURE)),
        "EuroSAT": ("a centered satellite photo of {}.", "a centered satellite photo of a {}.",
                    "a centered satellite photo of the {}."),
        "FGVCAircraft": ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft."),
        "Flowers102": ("a photo of a {}, a type of flower.",),
        "OxfordIIITPet": ("a photo of a {}, a type of pet.",),
    }
)  # fmt: skip
"""The eight zero-shot sets, and the texts CLIP's authors ask about each (Radford et al. 2021, their data/prompts.md).

Which eight is ours: of the usual ones those that torchvision reads and can download, without STL10, whose classes are
CIFAR10's, and PCAM, which has two.
"""

_WORDS = {
    "AnnualCrop": "annual crop land", "Forest": "forest", "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road", "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land", "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments", "River": "river", "SeaLake": "lake or sea",
}  # fmt: skip
"""EuroSAT's classes as CLIP is asked about them."""


def open_torchvision(spec: Spec) -> Arrays:
    """A torchvision classification set on disk; it is downloaded only where the SPEC says `download=yes`.

    Args:
        spec: `torchvision:NAME,root=…[,split=…][,download=yes]`; NAME is a class of `torchvision.datasets`, split its
            own `split`, or train or test where it takes `train=True` or `False`, else the set's default holds.

    Raises:
        UserError: if there is no such set, or it is not under `root`, or its labels are not whole numbers.
    """
    import torchvision

    name, root, download = spec.positional, spec.option("root") or ".", flag(spec, "download")
    kind = getattr(torchvision.datasets, name, None)
    if kind is None or not isinstance(kind, type):
        raise UserError(
            f"'{spec.text}': torchvision has no data set '{name}'; "
            "see torchvision.datasets.__all__ (CIFAR10, Food101, …)"
        )
    takes = inspect.signature(kind).parameters
    if download and "download" not in takes:
        raise UserError(
            f"'{spec.text}': torchvision cannot download {name}; leave out download=yes, and fetch it yourself"
        )
    options = _options(spec, takes)
    limits = limits_of(spec)
    try:
        data = kind(root, **options)
    except Exception as error:  # a set that is damaged, or lacks a library, may fail in any way
        if isinstance(error, TypeError):
            todo = "open it in a MODULE:FACTORY of yours, with the arguments that it takes"
        elif "download" in takes and not download:
            todo = "to fetch it, add download=yes to the SPEC once"
        else:
            todo = "check root"
        raise UserError(
            f"'{spec.text}': cannot open {name} under {root}: {architectures.reason(error)}; {todo}"
        ) from error
    with limited(limits.pixels):
        source = Arrays(spec.text, data, class_names(data), limits=limits)
    source.templates = TEMPLATES.get(name, source.templates)
    return source


def class_names(data: Any) -> tuple[str, ...] | None:
    """The names of a set's classes as words, None where it has none."""
    names = getattr(data, "classes", None) or getattr(data, "categories", None)
    if not isinstance(names, list | tuple):
        return None
    return tuple(_WORDS.get(str(name), str(name).replace("_", " ")) for name in names)


def _options(spec: Spec, takes: Mapping[str, Any]) -> dict[str, Any]:
    split = spec.option("split")
    options: dict[str, Any] = {"download": flag(spec, "download")} if "download" in takes else {}
    if split in ("train", "test") and "train" in takes:
        return {**options, "train": split == "train"}
    return options if split is None else {**options, "split": split}
