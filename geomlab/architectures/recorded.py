"""What a checkpoint says of its network, as far as it can be believed."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geomlab.architectures.frame import INTERPOLATIONS, MODES
from geomlab.architectures.network import Labels
from geomlab.errors import UserError
from geomlab.spec import parse

LIBRARIES = ("open_clip", "timm", "torchvision")
"""Whose networks a SPEC may name without running code of the user's."""


def network_of(metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """SPEC and config of the network a checkpoint says it is. Never a factory: that is code.

    Raises:
        UserError: if the checkpoint asks for the user's own code, which only `--model` may name.
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


def runs_code(spec: str) -> bool:
    """Whether a model SPEC is a `MODULE:FACTORY`: code, which a checkpoint may not name."""
    return parse(spec).head not in LIBRARIES
