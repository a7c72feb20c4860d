"""The tables in README.md and docs/comparison.md that come from benches, written into them between their marks.

python benchmarks/tables.py

`<!-- bench: PATH -->` stands before the table of that file, an object with `rows` as in bench.json, and `<!-- end -->`
after it. It is the table that `grace bench` prints (`grace.bench.table`), in per cent: means over seeds ± the
half-width of their 95 % t-interval. Costs are left out: long benches run beside other work, and
benchmarks/train_step.py measures them: `<!-- cost: PATH -->` is the table of its file, in steps of vanilla fine-tuning.
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
MARKED = re.compile(r"(<!-- (bench|cost): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
COST = "cost ratio"


def shown(entry: Entry) -> str:
    """`39.4 ± 1.2`; without ± where there is one value or all are the same."""
    if isinstance(entry, str):
        return entry
    if not math.isfinite(entry.value):
        return MISSING
    low, high = entry.error if isinstance(entry.error, tuple) else (0.0, 0.0)
    value = f"{100 * entry.value:z.1f}".replace("-", "−")
    return f"{value} ± {50 * (high - low):.1f}" if high > low else value


def bench(found: Mapping[str, Any]) -> str:
    """A line a method, in the order of the rows."""
    made = tabulate(found["rows"], title="", caption="")
    kept = [i for i, column in enumerate(made.columns) if column != COST]
    rows = [[shown(row[i]) for i in kept] for row in made.rows]
    return markdown([made.columns[i] for i in kept], [[f"`{name}`", *cells] for name, *cells in rows])


def cost(found: Mapping[str, Any]) -> str:
    """A line a method, a column a run of the benchmark, by its attack."""
    runs = found["runs"]
    rows = [[f"`{name}`", *(f"{run['ratio'][name]:.1f}" for run in runs)] for name in runs[0]["ratio"]]
    return markdown(["method", *(f"PGD-{run['attack_steps']}" for run in runs)], rows)


TABLES = {"bench": bench, "cost": cost}


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def written(text: str) -> str:
    """A text with every marked table as its file says."""

    def replace(match: re.Match[str]) -> str:
        found = json.loads((ROOT / match[3]).read_text(encoding="utf-8"))
        return match[1] + "\n" + TABLES[match[2]](found) + "\n" + match[4]

    return MARKED.sub(replace, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        files.replace(document, written(document.read_text(encoding="utf-8")).encode())
