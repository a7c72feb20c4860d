"""`webdataset:`: samples in tar files, read in place.

The library `webdataset` is not used: it gives its samples one after the other, where a balanced subset is read by
number; its decoders unpickle members that are named `.pyd` or `.pth`; and it runs what a `pipe:` names.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Size
from geomlab.data.archives import open_archive
from geomlab.data.braces import expanded
from geomlab.data.decode import SUFFIXES, read_images
from geomlab.data.labels import named_classes, numbered
from geomlab.data.places import OPTIONS as LIMITS
from geomlab.data.places import CannotRead, Limits, OnDisk, Place, limits_of, nameable, printable
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.spec import Spec
from geomlab.typing import Images

OPTIONS = ("image", "label", "classes", *LIMITS)
_MOST = 1 << 20  # bytes of a member that says a label: ours
_IMAGES = ";".join(ending[1:] for ending in SUFFIXES)


class WebDataset(Source):
    """Members of tar files, of which those with one name up to its first dot are a sample.

    Args:
        spec: `webdataset:SHARDS`, a folder of `.tar` files or a pattern of such; `image=` endings, of which a sample's
            first is taken; `label=` the ending of its label, `cls` a whole number, any other a name, `json:FIELD`
            either; `classes=` a file of the classes' names.

    Raises:
        UserError: if a shard is missing or not to be trusted, or a sample lacks an image or a label.
    """

    domains = ("id",)

    def __init__(self, spec: Spec) -> None:
        self.spec = spec.text
        self._limits: Limits = limits_of(spec)
        self.skip = self._limits.skip
        images = [ending.strip(". ") for ending in (spec.option("image") or _IMAGES).split(";")]
        label = spec.option("label") or "cls"
        names, ids, values = named_classes(spec), [], []
        self._images: list[Place] = []
        for shard, path in _shards(spec, self._limits):
            for key, sample in _samples(open_archive(path)):
                ids.append(f"{shard}/{key}")
                self._images.append(_member(f"{path}/{key}", sample, "image", images))
                values.append(_label(f"{path}/{key}", sample, label))
        if not values:
            raise UserError(f"'{spec.text}': its shards hold no samples")
        self._ids = np.array(ids)
        self._labels, self.classes = numbered(spec, values, names)

    def list_samples(self, domain: str) -> Index:
        """By shard and name; ids are `<shard>/<name>`."""
        return Index(self._ids, self._labels)

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """As of files: resized and cut as `size` says."""
        return read_images([self._images[row] for row in rows], size, self._limits)


def _shards(spec: Spec, limits: Limits) -> list[tuple[str, Path]]:
    """The shards, each with its path below the folder that holds all of them."""
    given = spec.positional
    if re.match(r"[A-Za-z][\w+.-]+:", given):
        raise UserError(
            f"'{spec.text}': {given.partition(':')[0]}: is nothing to read in place; fetch the shards, and give their "
            "folder or a pattern such as train-{000..010}.tar"
        )
    with nameable(spec, "SHARDS"):
        folder = Path(given).expanduser()
        if given and folder.is_dir():
            entries = OnDisk(folder, folder.resolve(), links=limits.links).entries()
            paths = [folder / place.name for place in entries if place.name.endswith(".tar")]
        else:
            paths = [Path(name).expanduser() for name in expanded(given)]
        missing = [path for path in paths if not path.is_file()]
    if not paths or missing:
        raise UserError(
            f"'{spec.text}': no shard {printable(str(missing[0]))}; give a folder of .tar files, or a pattern of them"
            if missing
            else f"'{spec.text}': {folder} holds no .tar files"
        )
    if len(set(paths)) < len(paths):
        raise UserError(f"'{spec.text}': names a shard twice")
    top = os.path.commonpath([path.absolute().parent for path in paths])
    return [(path.absolute().relative_to(top).as_posix(), path) for path in paths]


def _samples(top: Place) -> list[tuple[str, dict[str, Place]]]:
    """Name -> ending -> member, by name. The ending is what follows a name's first dot, as WebDataset has it."""
    found: dict[str, dict[str, Place]] = defaultdict(dict)
    for folder, place in _files(top, ""):
        name, dot, ending = place.name.partition(".")
        if dot:
            found[folder + name][ending.lower()] = place
    return sorted(found.items())


def _files(folder: Place, prefix: str) -> Iterator[tuple[str, Place]]:
    """All files below a folder, without those for WebDataset's own use, `__…__`."""
    waiting = [(prefix, iter(folder.entries()))]  # folders in one another may be many
    while waiting:
        within, entries = waiting[-1]
        place = next(entries, None)
        if place is None:
            waiting.pop()
        elif re.match(r"__.*__$", place.name):
            continue
        elif place.is_folder:
            waiting.append((f"{within}{place.name}/", iter(place.entries())))
        else:
            yield within, place


def _member(where: str, sample: dict[str, Place], option: str, endings: Sequence[str]) -> Place:
    found = next((sample[ending] for ending in map(str.lower, endings) if ending in sample), None)
    if found is None:
        raise UserError(
            f"{printable(where)}: no .{' nor .'.join(endings)} there, but .{printable(', .'.join(sorted(sample)))}; "
            f"say which holds the {option}: {option}=…"
        )
    return found


def _label(where: str, sample: dict[str, Place], label: str) -> Any:
    """What a sample says of its class: a number or a name."""
    ending, colon, field = label.partition(":")
    member = _member(where, sample, "label", [ending])
    try:
        text = member.read(_MOST).decode().strip()
        if colon:
            return json.loads(text)[field]
        return int(text) if ending == "cls" else text
    except (CannotRead, ValueError, KeyError, TypeError, RecursionError) as error:
        wanted = f"JSON with {field}" if colon else "a whole number" if ending == "cls" else "a name"
        said = str(error) or type(error).__name__
        raise UserError(f"{member}: expected {wanted} ({said}); label=… says where else") from error
