"""The validated recipe: what a run does, composed from TOML files and saved whole beside the weights.

Later ones win: recipes/methods/METHOD.toml, on top of that of the method its key `like` names;
recipes/data/DATA.toml; the method's section `[on.DATA]`; of a budget recipes/budgets/DATA.BUDGET.toml and its section
`[for.METHOD]`; the user's own file; `--set key=value`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from geomlab.errors import UserError
from geomlab.spec import parse
from grace import methods
from grace.method import SECTIONS, Method
from grace.settings import Architecture, Attack, Lora, Recipe, nearest


def compose(
    method: str,
    data: str = "glyphs",
    *,
    budget: str | None = None,
    file: Path | None = None,
    settings: Iterable[str] = (),
) -> Recipe:
    """The recipe of a method on data.

    Args:
        method: name of a method.
        data: data SPEC. What stands before its colon chooses the file under recipes/data.
        budget: name of a file under recipes/budgets: a size for comparisons, with what was tuned for it.
        file: the user's own TOML.
        settings: `key=value`, keys dotted, values as in TOML; what is no TOML is text.

    Raises:
        UserError: if the method is unknown, a file or setting cannot be read, or a key or value is not valid.
    """
    chosen = methods.get(method)
    of_method = _of_method(method)
    on = of_method.pop("on", {})
    name = _file_of(data)
    shipped = [of_method, _shipped("data", name), on.get(name, {}), *_of_budget(budget, name, method)]
    named = {} if data == name and "train" in shipped[1].get("data", {}) else {"data": {"train": data}}
    own = [_own(file), *map(_setting, settings)]
    for section in set(SECTIONS) - chosen.uses:
        if any(section in layer for layer in own):
            raise UserError(
                f"the recipe has no section '{section}': {method} has no use for it; leave it out"
            )
        shipped = [{key: value for key, value in layer.items() if key != section} for layer in shipped]
    raw: dict[str, Any] = {"method": method, "options": {}}
    for layer in (*shipped, named, *own):
        raw = merge(raw, layer)
    if raw["method"] != method:
        raise UserError(f"{file or '--set'}: it is for the method '{raw['method']}', not '{method}'")
    return validate(recipe_of(chosen), raw)


class _Composed(Recipe):
    """A recipe of some method. Its class is made for the method and has no name to be pickled by."""

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (self.model_dump(mode="json"),)


def revive(saved: Mapping[str, Any]) -> Recipe:
    """A recipe from what was saved of it."""
    return validate(recipe_of(methods.get(saved["method"])), saved)


@lru_cache
def recipe_of(method: Method) -> type[Recipe]:
    """The kind of recipe whose `[options]` are a method's own, with the sections it uses."""
    kinds: dict[str, Any] = {
        "attack": (Attack, Attack.model_validate({})),
        "lora": (Lora, Lora.model_validate({})),
        "architecture": (Architecture | None, None),
    }
    sections: dict[str, Any] = {
        name: kind if name in method.uses else (None, None) for name, kind in kinds.items()
    }
    return create_model("Recipe", __base__=_Composed, options=(method.options, ...), **sections)


def validate(kind: type[Recipe], raw: Mapping[str, Any]) -> Recipe:
    """A recipe of plain values.

    Raises:
        UserError: for the first key or value that is not valid, with the nearest key where one is unknown.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
        if first["type"] == "extra_forbidden":
            raise UserError(f"the recipe has no key '{key}'; {nearest(key, dotted_keys(kind))}") from error
        if first["type"] == "value_error":  # of our own validators, which say what came
            raise UserError(f"recipe, {key}: {first['ctx']['error']}") from error
        raise UserError(f"recipe, {key}: {first['msg']}; got {first['input']!r}") from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; tables are merged, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def dotted_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of a recipe, dotted."""
    keys = []
    for name, info in kind.model_fields.items():
        if info.annotation is type(None):  # a section that this method does not use
            continue
        inner = [kind for kind in _options_of(info.annotation) if issubclass(kind, BaseModel)]
        keys += dotted_keys(inner[0], f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def data_names() -> tuple[str, ...]:
    """The data sets with a file of their own; for all others there is `default.toml`."""
    names = {path.name.removesuffix(".toml") for path in _folder("data").iterdir()}
    return tuple(sorted(names - {"default"}))


def budget_names(data: str) -> tuple[str, ...]:
    """The budgets there are for a data set."""
    names = [path.name.removesuffix(".toml").partition(".") for path in _folder("budgets").iterdir()]
    return tuple(sorted(budget for of, _, budget in names if of == data))


def attack_of(data: str) -> Attack:
    """The attack that the data's own file says: what all methods on it are judged by, whatever they train with."""
    return Attack.model_validate(_shipped("data", _file_of(data)).get("attack", {}))


def _file_of(data: str) -> str:
    """The name of the file under recipes/data that holds for a data SPEC."""
    head = parse(data).head
    return head if head in data_names() else "default"


def _of_method(method: str) -> dict[str, Any]:
    """What is shipped for a method, on top of what it is like."""
    own = _shipped("methods", method)
    base = own.pop("like", None)
    return own if base is None else merge(_of_method(base), own)


def _of_budget(budget: str | None, data: str, method: str) -> tuple[dict[str, Any], ...]:
    """What a budget says for all methods, and for one."""
    if budget is None:
        return ()
    if budget not in budget_names(data):
        known = ", ".join(budget_names(data)) or "none"
        raise UserError(f"no budget '{budget}' for this data; there is {known}")
    common = _shipped("budgets", f"{data}.{budget}")
    own = common.pop("for", {}).get(method, {})
    return common, own


def _options_of(annotation: Any) -> list[type]:
    """The classes in an annotation: itself, or the members of a union."""
    return [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]


def _is_branch(part: object) -> bool:
    """Whether part of a location names a branch of a union, not a key."""
    return isinstance(part, str) and ("[" in part or part == "tuple")


def _folder(kind: str) -> Any:
    return files("grace").joinpath("recipes", kind)


def _shipped(kind: str, name: str) -> dict[str, Any]:
    return tomllib.loads(_folder(kind).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _own(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot read the recipe ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not TOML: {error}") from error


def _setting(text: str) -> dict[str, Any]:
    """`a.b=value` -> {"a": {"b": value}}."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UserError(f"--set '{text}': write key=value, for example optimisation.lr=1e-4")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    nested: Any = parsed
    for part in reversed(parts):
        nested = {part: nested}
    return dict(nested)
