"""Which columns of a table are the images and the labels."""

from collections.abc import Collection, Mapping
from typing import Any

from geomlab.data.hub import library
from geomlab.data.places import printable
from geomlab.errors import UserError, reason
from geomlab.spec import Spec


def features_of(spec: Spec, schema: Any) -> Mapping[str, Any]:
    """Columns as Hugging Face's `datasets` understands them.

    Args:
        spec: of the source.
        schema: Arrow's.

    Raises:
        UserError: if it cannot.
    """
    try:
        return dict(library(spec).Features.from_arrow_schema(schema))
    except UserError:
        raise
    except Exception as error:  # anybody may have written them
        raise UserError(f"'{spec.text}': its columns cannot be understood: {reason(error)}") from error


def columns(spec: Spec, features: Mapping[str, Any]) -> tuple[str, str]:
    """The names of the image column and of the label column.

    Each is what `image=` or `label=` says; else the only one declared as Image or ClassLabel; else the only one that
    can be one, or the one so named.

    Args:
        spec: of the source.
        features: of its columns.

    Raises:
        UserError: if there is none of a kind, or several and it is not said which.
    """
    datasets = library(spec)
    kinds = {
        "image": (datasets.Image, _holds_images, "images as bytes or files"),
        "label": (datasets.ClassLabel, _holds_labels, "a ClassLabel, whole numbers or names"),
    }
    found = []
    for option, (declared, possible, expected) in kinds.items():
        fit = [name for name, kind in features.items() if isinstance(kind, declared) or possible(kind)]
        given = spec.option(option)
        if given is not None and given in features and given not in fit:
            held = printable(repr(features[given]))[:80]
            raise UserError(f"'{spec.text}': column {given} holds {held}; expected {expected}")
        first = [name for name in fit if isinstance(features[name], declared)]
        named = [option] if option in fit else fit
        found.append(chosen(spec, option, fit if given else first or named))
    return found[0], found[1]


def chosen(spec: Spec, option: str, there: Collection[str]) -> str:
    """What an option names of several, or the only one.

    Raises:
        UserError: if that is not there, or it is not said which.
    """
    given, has = spec.option(option), printable(", ".join(there)) or "none"
    if given is None and len(there) == 1:
        return next(iter(there))
    if given is None:
        raise UserError(f"'{spec.text}': does not say its {option}; there are {has}: add {option}=…")
    if given not in there:
        raise UserError(f"'{spec.text}': no {option} '{given}'; there are {has}")
    return given


def _holds_images(kind: Any) -> bool:
    if isinstance(kind, dict):  # what Image is stored as, written without the library
        path = getattr(kind.get("path"), "dtype", "string")
        known = (
            set(kind) <= {"bytes", "path"} and "bytes" in kind and path in ("string", "large_string", "null")
        )
        return known and _holds_images(kind["bytes"])
    return getattr(kind, "dtype", None) in ("binary", "large_binary")


def _holds_labels(kind: Any) -> bool:
    dtype = getattr(kind, "dtype", None)
    return isinstance(dtype, str) and (
        dtype in ("string", "large_string") or dtype.strip("u").startswith("int")
    )
