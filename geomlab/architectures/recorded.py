"""What a checkpoint says of its network, as far as it can be believed."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geomlab.architectures.frame import INTERPOLATIONS, MODES
from geomlab.architectures.network import Labels
from geomlab.errors import UserError
from geomlab.files import is_file, is_folder
from geomlab.spec import parse

LIBRARIES = ("open_clip", "timm", "torchvision", "transformers")
"""Whose networks a SPEC may name without running code of the user's."""


def network_of(metadata: Mapping[str, Any], *, asked: bool = False) -> tuple[str, dict[str, Any] | None]:
    """SPEC and config of the network a checkpoint says it is. Never a factory: that is code.

    Args:
        metadata: of the checkpoint.
        asked: whether the user wrote this SPEC, and no file did.

    Raises:
        UserError: if the checkpoint asks for the user's own code, or for a repository of the hub, which only `--model`
            may name.
    """
    if "adapters" in metadata:
        raise UserError(
            "holds low-rank adapters alone; make a checkpoint of them: grace merge BASE FILE --out OUT"
        )
    architecture = metadata["architecture"]
    spec = str(architecture["spec"])
    if runs_code(spec):
        raise UserError(
            f"the checkpoint asks to run '{spec}'; if you trust it, name it yourself: --model {spec}"
        )
    if not asked and _on_the_hub(spec):
        raise UserError(
            f"the checkpoint asks for '{spec}', which would be downloaded; if you want it, name it yourself: "
            f"--model {spec}"
        )
    return spec, architecture.get("config")


def labels_of(metadata: Mapping[str, Any], data: Labels | None = None) -> Labels | None:
    """Class names and templates of a checkpoint; those of the data where it has none."""
    classes, templates = metadata.get("classes"), metadata.get("templates")
    if classes:
        return Labels(tuple(classes), tuple(templates or Labels.templates))
    return replace(data, templates=tuple(templates)) if data and templates else data


def preprocessing_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Preprocessing` that a checkpoint records; a size of null is any size.

    Raises:
        UserError: if they are no such numbers.
    """
    given = metadata.get("preprocessing") or {}
    try:
        fields: dict[str, Any] = {
            name: tuple(map(float, given[name])) for name in ("mean", "std") if given.get(name) is not None
        }
        if "size" in given:
            fields["size"] = None if given["size"] is None else operator.index(given["size"])
            # One that records its size was measured or trained with these, where it does not say otherwise.
            fields |= {"resize": None, "interpolation": "bicubic", "mode": "shortest"}
        if given.get("resize") is not None:
            fields["resize"] = operator.index(given["resize"])
        for name, known in (("interpolation", INTERPOLATIONS), ("mode", MODES)):
            if given.get(name) is not None:
                fields[name] = known[known.index(given[name])]
        channels = {len(fields[name]) for name in ("mean", "std") if name in fields}
        sides = [fields[name] for name in ("size", "resize") if fields.get(name) is not None]
        if len(channels) > 1 or 0 in channels or min(sides, default=1) < 1:
            raise ValueError("numbers, but not such ones")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the checkpoint's preprocessing is {given}; expected numbers: size, a whole one of at least 1, "
            "and mean and std, one a channel each; of resizing as docs/checkpoint.md says"
        ) from error
    return fields


def _on_the_hub(spec: str) -> bool:
    """Whether building it may download something. Of timm and torchvision nothing is, beside a file of weights."""
    parsed = parse(spec)
    if parsed.head == "transformers":
        return not is_folder(parsed.positional)
    tag = parsed.option("pretrained")
    tagged = tag is not None and not is_file(tag)
    return parsed.head == "open_clip" and (tagged or parsed.positional.startswith("hf-hub:"))


def runs_code(spec: str) -> bool:
    """Whether a model SPEC is a `MODULE:FACTORY`: code, which a checkpoint may not name."""
    return parse(spec).head not in LIBRARIES
