"""QuickGELU or GELU: which a network has, and which its weights were trained with (open_clip#771).

No tensor tells them apart: a network with the other one loads, runs, and is some points less accurate. What can be
known is what is said: by the name of a model, a config, a pretrained tag, and the sizes that OpenAI's archives hold.
"""

from collections.abc import Mapping
from typing import Any

import open_clip

from geomlab.errors import UserError
from geomlab.spec import parse

QUICK = "-quickgelu"
"""Ends the names of those of open_clip's models that have it, where there is one of each."""


def quick_gelu(name: str, config: Mapping[str, Any] | None = None) -> bool | None:
    """Whether a network has QuickGELU, and not GELU; None where nobody says.

    Args:
        name: as `open_clip.get_model_config` takes it, or `custom`.
        config: of `open_clip:custom`.
    """
    if name == "custom":
        return bool(config.get("quick_gelu", False)) if config else None
    found = open_clip.get_model_config(name)
    return bool(found.get("quick_gelu", False)) if found else None


def check(name: str, *, trained: bool | None, why: str, tag: str | None = None) -> None:
    """Refuse weights that were trained with the other activation.

    Args:
        name: of the network they are to go into.
        trained: whether they were trained with QuickGELU; None where nobody says.
        why: it is known.
        tag: pretrained, given beside the name.

    Raises:
        UserError: with the name to give in its place.
    """
    own = quick_gelu(name)
    if own is None or trained is None or own == trained:
        return
    other = _other(name, quick=trained)
    suffix = f",pretrained={tag}" if tag else ""
    hint = f"write open_clip:{other}{suffix}" if _built_in(other) else "name a network that has it"
    raise UserError(
        f"open_clip:{name} has {_called(own)}, and {why} with {_called(trained)} (open_clip#771); {hint}"
    )


def check_tag(name: str, tag: str) -> None:
    """Refuse a model of open_clip's list with a tag of the other activation, of which open_clip 3.3 only warns.

    Where there is no model of the other one, the list itself is all that says so, and it is let through.

    Raises:
        UserError: with the SPEC to give in its place.
    """
    trained = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    if _built_in(_other(name, quick=trained)):
        check(name, trained=trained, why=f"the tag {tag} is of weights trained", tag=tag)


def check_recorded(architecture: Mapping[str, Any] | None, spec: str) -> None:
    """Refuse `--model` where a checkpoint says that its network has the other activation.

    Args:
        architecture: of the checkpoint, `{"spec", "config"}`, or None.
        spec: the model SPEC given in its place.

    Raises:
        UserError: with the name to give in its place.
    """
    given, said = parse(spec), parse(architecture["spec"]) if architecture else None
    if architecture is None or said is None or {given.head, said.head} != {"open_clip"}:
        return
    if _built_in(given.positional) and (said.positional == "custom" or _built_in(said.positional)):
        trained = quick_gelu(said.positional, architecture.get("config"))
        check(given.positional, trained=trained, why="the checkpoint says that it was trained")


def _other(name: str, *, quick: bool) -> str:
    return f"{name}{QUICK}" if quick else name.removesuffix(QUICK)


def _built_in(name: str) -> bool:
    return name in open_clip.list_models()


def _called(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"
