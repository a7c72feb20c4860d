"""The methods, found by module: a new file here with a `METHOD` is a new method."""

import difflib
import importlib
import pkgutil

from geomlab.errors import UserError
from grace.method import Method


def names() -> tuple[str, ...]:
    """All methods, sorted."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Method:
    """A method by name.

    Raises:
        UserError: naming the nearest and all others.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(f"no method '{name}'; {hint}there are {', '.join(names())}")
    method: Method = importlib.import_module(f"grace.methods.{name.replace('-', '_')}").METHOD
    return method
