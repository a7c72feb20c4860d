"""The rows of bench.json, and the table made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from geomlab.tables import Cell as Entry
from geomlab.tables import Table
from grace.bench.statistics import differences, mean_interval

Row = Mapping[str, Any]
VANILLA = "ft"
REFERENCES = ("grace", VANILLA)
_AXES = {
    "ID": "id",
    "OOD": "ood",
    "Adv": "adv",
    "harmonic mean": "harmonic_mean",
    "relative drift": "drift",
    "cost ratio": "cost_ratio",
}
_KEYS = (
    *("method", "seed", "id", "ood", "adv", "harmonic_mean", "drift", "steps", "seconds_per_step"),
    *("accuracy", "n", "digest"),
)


def rows(results: Sequence[Row]) -> list[dict[str, Any]]:
    """What bench.json lists: each result with its cost ratio to vanilla fine-tuning at the same seed and threads.

    Args:
        results: as `result.json` holds them.
    """
    vanilla = {
        (found["seed"], found.get("threads")): found["seconds_per_step"]
        for found in results
        if found["method"] == VANILLA
    }
    listed = []
    for found in results:
        own, base = found["seconds_per_step"], vanilla.get((found["seed"], found.get("threads")))
        ratio = None if own is None or base is None else own / base
        listed.append({key: found[key] for key in _KEYS} | {"cost_ratio": ratio})
    return listed


def tabulate(listed: Sequence[Row], *, title: str, caption: str) -> Table:
    """A row a method: means over seeds with 95 % t-intervals.

    A method that takes no step is the same network for every seed, and has no interval.

    Args:
        listed: as `rows` gives them, for one seed or several.
        title: of the table.
        caption: what the numbers are.
    """
    by_method: dict[str, list[Row]] = {}
    for row in listed:
        by_method.setdefault(row["method"], []).append(row)
    reference = next((name for name in REFERENCES if name in by_method), None)
    columns = ["method", *_AXES]
    if reference is not None and len(by_method) > 1:
        columns.append(f"harmonic mean − {reference}")
    lines = []
    for name, own in by_method.items():
        line: list[Entry | str] = [name, *(_mean(own, key) for key in _AXES.values())]
        if len(columns) > len(line):
            assert reference is not None
            line.append("reference" if name == reference else _difference(own, by_method[reference]))
        lines.append(tuple(line))
    return Table(title, tuple(columns), tuple(lines), caption)


def _mean(own: Sequence[Row], key: str) -> Entry:
    values = [row[key] for row in own if row[key] is not None]
    mean, interval = mean_interval(values)
    fixed = all(row["steps"] == 0 for row in own)
    return Entry(mean, None if fixed else interval, len(own))


def _difference(own: Sequence[Row], reference: Sequence[Row]) -> Entry:
    """Of the harmonic means, paired by seed."""
    of, to = (
        {row["seed"]: row["harmonic_mean"] for row in some if row["harmonic_mean"] is not None}
        for some in (own, reference)
    )
    mean, interval = mean_interval(differences(of, to))
    return Entry(mean, interval, len(own))
