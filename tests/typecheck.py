"""How the test run checks the annotations of every function (tests/conftest.py).

What jaxtyping's hook does to each, a scope of shapes, Python's `Signature.bind` and every check of the arguments twice,
is half of the time of many a test. So only a function that names a shape gets a scope, and its arguments one check.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ForwardRef, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, _decorator

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # a whole number is a float, as PEP 484 has it
_jaxtyped = jaxtyping.jaxtyped


def _parts(hint: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from _parts(part)


def decorate(target: Any = None, *, typechecker: Callable[..., Any] = check) -> Any:
    """As `jaxtyping.jaxtyped`, which the import hook writes before every function and class."""
    if target is None:
        return lambda decorated: decorate(decorated, typechecker=typechecker)
    if not inspect.isfunction(target):
        return _jaxtyped(target, typechecker=typechecker)
    parts = [part for hint in target.__annotations__.values() for part in _parts(hint)]
    as_text = any(
        isinstance(part, str | ForwardRef) for part in parts
    )  # of which jaxtyping passes over the unknown
    if as_text or inspect.isgeneratorfunction(
        target
    ):  # whose annotation its other way would switch off everywhere
        return _jaxtyped(target, typechecker=typechecker)
    shaped = any(inspect.isclass(part) and issubclass(part, AbstractArray) for part in parts)
    return _jaxtyped(check(target), typechecker=None) if shaped else check(target)


def install(*packages: str) -> None:
    """Check what is imported from now on of these packages."""
    jaxtyping.jaxtyped = _decorator.jaxtyped = decorate
    jaxtyping.install_import_hook(list(packages), f"{__name__}.check")
