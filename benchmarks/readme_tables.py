"""The tables of the README that come from benches, written into it between their marks.

python benchmarks/readme_tables.py

`<!-- bench: PATH -->` in the README stands before the table of that file, a list of rows as in bench.json or an object
with such `rows`; `<!-- end -->` after it. Numbers are means over seeds in per cent, ± the half-width of their 95 %
t-interval.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geomlab import files
from grace.bench.statistics import mean_interval

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = {
    "ID": "id",
    "OOD": "ood",
    "Adv": "adv",
    "harmonic mean": "harmonic_mean",
    "relative drift": "drift",
}


def percent(values: Sequence[float]) -> str:
    """`39.4 ± 1.2`; without ± where there is one value or all are the same."""
    mean, interval = mean_interval(values)
    half = 0.0 if interval is None else (interval[1] - interval[0]) / 2
    return f"{100 * mean:.1f} ± {100 * half:.1f}" if half else f"{100 * mean:.1f}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a method, in the order of the list."""
    methods = dict.fromkeys(row["method"] for row in rows)
    lines = [
        "| " + " | ".join(["method", *COLUMNS]) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        cells = [percent([row[key] for row in own]) for key in COLUMNS.values()]
        lines.append("| " + " | ".join([f"`{method}`", *cells]) + " |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """A text with every marked table as its file says."""

    def replace(match: re.Match[str]) -> str:
        found = json.loads((ROOT / match[2]).read_text(encoding="utf-8"))
        return match[1] + "\n" + table(found if isinstance(found, list) else found["rows"]) + "\n" + match[3]

    return MARKED.sub(replace, text)


if __name__ == "__main__":
    files.replace(README, written(README.read_text(encoding="utf-8")).encode())
