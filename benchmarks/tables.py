"""The tables in README.md and docs/comparison.md that come from benches, written into them between their marks.

python benchmarks/tables.py

`<!-- bench: PATH -->` stands before the table of that file, an object with `rows` as in bench.json, and `<!-- end -->`
after it. It is the table that `grace bench` prints (`grace.bench.table`), in per cent: means over seeds ± the
half-width of their 95 % t-interval. Costs are left out: long benches run beside other work, and
benchmarks/train_step.py measures them.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geomlab import files
from geomlab.tables import MISSING, Entry
from grace.bench.table import tabulate

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "comparison.md")
MARKED = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
COST = "cost ratio"


def shown(entry: Entry) -> str:
    """`39.4 ± 1.2`; without ± where there is one value or all are the same."""
    if isinstance(entry, str):
        return entry
    if not math.isfinite(entry.value):
        return MISSING
    low, high = entry.error if isinstance(entry.error, tuple) else (0.0, 0.0)
    value, half = (f"{100 * x:.1f}" for x in (entry.value, (high - low) / 2))
    return f"{value} ± {half}".replace("-", "−") if high > low else value.replace("-", "−")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a method, in the order of the list."""
    made = tabulate(rows, title="", caption="")
    kept = [i for i, column in enumerate(made.columns) if column != COST]
    lines = ["| " + " | ".join(made.columns[i] for i in kept) + " |", "|---|" + "---:|" * (len(kept) - 1)]
    for row in made.rows:
        name, *cells = (shown(row[i]) for i in kept)
        lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """A text with every marked table as its file says."""

    def replace(match: re.Match[str]) -> str:
        rows = json.loads((ROOT / match[2]).read_text(encoding="utf-8"))["rows"]
        return match[1] + "\n" + table(rows) + "\n" + match[3]

    return MARKED.sub(replace, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        files.replace(document, written(document.read_text(encoding="utf-8")).encode())
