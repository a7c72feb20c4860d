"""The methods of a bench: `NAME`, or a variant of one, `NAME:key=value,key=value`."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from geomlab.errors import UserError
from grace import methods
from grace.method import SECTIONS
from grace.recipe import compose
from grace.settings import Recipe

_BETWEEN = re.compile(r",(?![^\[]*\])")  # a comma that is in no list


@dataclass(frozen=True)
class Variant:
    """A method with settings of its own.

    Attributes:
        label: as it was given; names it in tables.
        method: name of the method.
        settings: `key=value` each, as `--set` takes them.
    """

    label: str
    method: str
    settings: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """A file name that is its own: no method has a dot in its name."""
        return self.method + quote(self.label.removeprefix(self.method).replace(":", ".", 1), safe=".,=+")

    def recipe(self, data: str, budget: str | None, settings: Iterable[str]) -> Recipe:
        """Its recipe; settings of all methods come before its own."""
        return compose(self.method, data, budget=budget, settings=[*settings, *self.settings])


def parse(texts: Iterable[str]) -> tuple[Variant, ...]:
    """The variants of `--methods`; none gives all methods that start from a checkpoint.

    Args:
        texts: each a list with commas. What follows a comma and has a `=` belongs to the variant before it.

    Raises:
        UserError: if a method is unknown, given twice or starts from scratch, or a variant says nothing.
    """
    found = [_variant(label) for text in texts for label in _labels(text)] or _all()
    labels = [variant.label for variant in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise UserError(f"--methods names '{twice[0]}' twice; leave one out, --seeds N repeats it")
    return tuple(found)


def shared(
    settings: Sequence[str], variants: Sequence[Variant], *, strict: bool = True
) -> dict[Variant, list[str]]:
    """Which of the settings for all methods each takes: those of a section go to the methods that use it.

    Args:
        settings: `key=value` each.
        variants: the methods.
        strict: whether a setting that none of them uses is refused.

    Raises:
        UserError: if a setting is of a section that none of them uses.
    """
    uses = {variant: methods.get(variant.method).uses for variant in variants}
    for text in settings:
        section = _section(text)
        if strict and section and not any(section in used for used in uses.values()):
            raise UserError(f"--set {text}: none of the methods uses the section '{section}'; leave it out")
    return {
        variant: [text for text in settings if _section(text) in {None, *used}]
        for variant, used in uses.items()
    }


def _section(text: str) -> str | None:
    """The section of a recipe, of those that only some methods use, that a setting is in."""
    head = text.partition("=")[0].partition(".")[0].strip()
    return head if head in SECTIONS else None


def _labels(text: str) -> list[str]:
    labels: list[str] = []
    for part in map(str.strip, _BETWEEN.split(text)):
        if labels and re.match(r"[^:]*=", part):
            labels[-1] += f",{part}"
        else:
            labels.append(part)
    return labels


def _variant(label: str) -> Variant:
    name, colon, rest = label.partition(":")
    _refuse_from_scratch(name)
    parts = _BETWEEN.split(rest) if colon else []
    if not all(key and equals and value for key, equals, value in (part.partition("=") for part in parts)):
        raise UserError(
            f"--methods '{label}': write NAME or NAME:key=value,key=value, for example {name}:options.x=1"
        )
    settings = (part if "." in part.partition("=")[0] else f"options.{part}" for part in parts)
    return Variant(label, name, tuple(settings))


def _all() -> list[Variant]:
    """Zero-shot first, GRACE last, by name between them."""
    chosen = [name for name in methods.names() if not methods.get(name).from_scratch]
    return [Variant(name, name) for name in sorted(chosen, key=lambda n: (n == "grace", n != "zero-shot", n))]


def _refuse_from_scratch(name: str) -> None:
    if methods.get(name).from_scratch:
        raise UserError(
            f"{name} starts from scratch; a bench compares what starts from one checkpoint: leave it out"
        )
