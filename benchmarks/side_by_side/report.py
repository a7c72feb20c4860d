"""A result file, written after each piece; what is in it is not done again."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from geomlab.environment import machine, versions
from side_by_side.cases import Case


class Report:
    """The file, begun or gone on with.

    Args:
        path: of the file.
        facts: that hold for all of it.
        packages: whose versions it names, beside the library's own.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], packages: Sequence[str]) -> None:
        self._path = path
        self._content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._content |= {
            **facts,
            "seed": 0,
            "machine": machine(),
            "versions": versions() | {name: installed(name) for name in packages},
        }

    def describe(self, case: Case) -> None:
        """What a case is."""
        found = self._content.setdefault("cases", {}).setdefault(case.name, {})
        found |= {"images": len(case.batches), "parameters": case.dim, "dtype": str(case.subject.dtype)}

    def add(self, where: Sequence[str], work: Callable[[], Mapping[str, Any]]) -> None:
        """Do a piece of work unless it is there, and write it."""
        place = self._content
        for name in where[:-1]:
            place = place.setdefault(name, {})
        if where[-1] in place:
            return
        print("…", *where, flush=True)
        place[where[-1]] = dict(work())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._content, indent=1, ensure_ascii=False) + "\n")
        print(json.dumps(shortened(place[where[-1]]), ensure_ascii=False), flush=True)


def shortened(entry: Any) -> Any:
    """Without long lists, for the eye."""
    if isinstance(entry, dict):
        return {name: shortened(value) for name, value in entry.items() if name != "before"}
    if isinstance(entry, list) and len(entry) > 2:
        return [*entry[:2], f"… {len(entry)}"]
    return entry


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
