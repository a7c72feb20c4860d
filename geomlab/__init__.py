"""geomlab: the geometry of a trained network under clean, adversarial and shifted inputs.

    import geomlab
    results = geomlab.analyze("ckpt.pt", out="out")     # what `geomlab analyze` does
    results = geomlab.open("out")                       # what it wrote
    subject = geomlab.load("ckpt.pt")                   # the network itself

Importing it imports neither torch nor a drawing library; each name is looked up when it is first used.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "analyze": ("geomlab.api", "analyze"),
    "compare": ("geomlab.api", "compare"),
    "load": ("geomlab.api", "load"),
    "open": ("geomlab.results", "open_results"),
    "figures": ("geomlab.render", "render"),
    "Results": ("geomlab.results", "Results"),
    "UserError": ("geomlab.errors", "UserError"),
}

__all__ = ["Results", "UserError", "analyze", "compare", "figures", "load", "open"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'geomlab' has no attribute '{name}'; it has {', '.join(__all__)}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
