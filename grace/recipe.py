"""The validated recipe: what a run does, composed from TOML files and saved whole beside the weights.

Later ones win: recipes/methods/METHOD.toml, recipes/data/DATA.toml, the method's section `[on.DATA]`, the
user's own file, `--set key=value`.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model

from geomlab.errors import UserError
from geomlab.spec import parse
from grace import methods
from grace.method import Strict

_SIZES = ("image_size", "patch_size", "width", "head_width", "heads", "layers", "context_length")
_Share = Annotated[float, Field(ge=0, lt=1)]


class Data(Strict):
    """What is trained on.

    Attributes:
        train: SPEC of the training data.
        test: SPEC recorded in the checkpoint as the data to judge it by; None records `train`.
        domains: `id` (the first domain), `all` that are not held out, or a list of names.
        held_out: domains that no method may train on.
        initial: what training starts from without `--from`: a file, `open_clip:NAME` or `embedded:NAME`.
        shift: images are moved by up to this many pixels either way.
        flip: whether half of the images are mirrored.
    """

    train: str
    test: str | None = None
    domains: Literal["id", "all"] | tuple[str, ...]
    held_out: tuple[str, ...] = ()
    initial: str | None = None
    shift: int = Field(0, ge=0)
    flip: bool = False


class Optimisation(Strict):
    """AdamW with warm-up and cosine decay to zero.

    Attributes:
        lr: the peak learning rate.
        weight_decay: decoupled; of matrices only, as in open_clip.
        betas: of AdamW.
        eps: of AdamW.
        warmup: steps of linear warm-up, fewer than the run has.
        clip_norm: largest norm of the whole gradient.
        batch_size: samples a step.
        epochs: passes over the training data.
        max_steps: ends earlier, the schedule with it.
    """

    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    betas: tuple[_Share, _Share] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    warmup: int = Field(ge=0)
    clip_norm: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(None, ge=1)

    def steps(self, steps_per_epoch: int) -> int:
        """Number of steps of a run.

        Raises:
            UserError: if the warm-up takes them all: the learning rate would reach its peak at the end or never.
        """
        steps = max(1, round(self.epochs * steps_per_epoch))
        steps = steps if self.max_steps is None else min(steps, self.max_steps)
        if self.warmup >= steps:
            raise UserError(
                f"a warm-up of {self.warmup} steps takes all {steps} steps of the run; set optimisation.warmup "
                f"below that, for example to {steps // 10}, or train longer"
            )
        return steps


def _check_sizes(needed: str) -> AfterValidator:
    """Refuse sizes of a tower that are no sizes; all else in its table is left to open_clip."""

    def check(config: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(config.get(needed), int):
            raise ValueError(f"{needed} is needed, a whole number; got {config.get(needed)!r}")
        for key in _SIZES:
            value = config.get(key, 1)
            for size in value if isinstance(value, list | tuple) else [value]:  # a ResNet has layers by stage
                if not isinstance(size, int) or size < 1:
                    raise ValueError(f"{key} must be a whole number of at least 1; got {value!r}")
        return config

    return AfterValidator(check)


def _one_or_three(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (1, 3):
        raise ValueError(f"expected one number, or three, one a colour; got {list(values)}")
    return values


class Architecture(Strict):
    """The CLIP that is built where training starts from scratch.

    Attributes:
        embed_dim: dimension of the shared space.
        vision_cfg: open_clip's `CLIPVisionCfg`; `image_size` is needed, sizes are at least 1.
        text_cfg: open_clip's `CLIPTextCfg`, the same for `context_length`; the vocabulary is added.
        mean: of each of the three channels, or one for all.
        std: of each of the three channels, or one for all; positive.
    """

    embed_dim: int = Field(ge=1)
    vision_cfg: Annotated[dict[str, Any], _check_sizes("image_size")]
    text_cfg: Annotated[dict[str, Any], _check_sizes("context_length")]
    mean: Annotated[tuple[float, ...], AfterValidator(_one_or_three)]
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(_one_or_three)]


class Recipe(Strict):
    """Everything a run does but its seed and its start.

    Attributes:
        method: name of the method.
        options: the method's own.
        data: what is trained on.
        optimisation: how.
        architecture: of a run from scratch; None where training must start from a checkpoint.
    """

    method: str
    options: Strict
    data: Data
    optimisation: Optimisation
    architecture: Architecture | None = None


def compose(
    method: str, data: str = "glyphs", *, file: Path | None = None, settings: Iterable[str] = ()
) -> Recipe:
    """The recipe of a method on data.

    Args:
        method: name of a method.
        data: data SPEC. What stands before its colon chooses the file under recipes/data.
        file: the user's own TOML.
        settings: `key=value`, keys dotted, values as in TOML; what is no TOML is text.

    Raises:
        UserError: if the method is unknown, a file or setting cannot be read, or a key or value is not valid.
    """
    chosen = methods.get(method)
    of_method = _shipped("methods", method)
    on = of_method.pop("on", {})
    name = parse(data).head if parse(data).head in data_names() else "default"
    shipped = (of_method, _shipped("data", name), on.get(name, {}))
    named = {} if data == name else {"data": {"train": data}}
    raw: dict[str, Any] = {"method": method, "options": {}}
    for layer in (*shipped, named, _own(file), *map(_setting, settings)):
        raw = merge(raw, layer)
    if raw["method"] != method:
        raise UserError(f"{file or '--set'}: it is for the method '{raw['method']}', not '{method}'")
    return validate(recipe_of(chosen.options), raw)


@lru_cache
def recipe_of(options: type[Strict]) -> type[Recipe]:
    """The kind of recipe whose `[options]` are a method's own."""
    return create_model("Recipe", __base__=Recipe, options=(options, ...))


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
            raise UserError(f"the recipe has no key '{key}'; {_nearest(key, dotted_keys(kind))}") from error
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
        inner = [kind for kind in _options_of(info.annotation) if issubclass(kind, BaseModel)]
        keys += dotted_keys(inner[0], f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def data_names() -> tuple[str, ...]:
    """The data sets with a file of their own; for all others there is `default.toml`."""
    names = {path.name.removesuffix(".toml") for path in _folder("data").iterdir()}
    return tuple(sorted(names - {"default"}))


def _options_of(annotation: Any) -> list[type]:
    """The classes in an annotation: itself, or the members of a union."""
    return [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]


def _is_branch(part: object) -> bool:
    """Whether part of a location names a branch of a union, not a key."""
    return isinstance(part, str) and ("[" in part or part == "tuple")


def _nearest(key: str, known: list[str]) -> str:
    leaf = key.rpartition(".")[2]
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, known, n=1) or [
        by_leaf[name] for name in difflib.get_close_matches(leaf, by_leaf, n=1)
    ]
    return f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"


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
