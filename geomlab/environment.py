"""What ran: versions of the libraries and the kind of machine, for provenance."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "geomlab",
    "torch",
    "torchvision",
    "open_clip_torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "xarray",
)


def versions() -> dict[str, str]:
    """Name -> version of Python and of every library that can change a number."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, str | int]:
    """The kind of machine, without anything that names this one."""
    return {"system": platform.system(), "processor": platform.machine(), "cpus": os.cpu_count() or 1}
