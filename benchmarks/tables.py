"""The tables in README.md, docs and benchmarks/README.md that come from benches, written into them between their marks.

python benchmarks/tables.py

`<!-- bench: PATH -->` stands before the table of that file, an object with `rows` as in bench.json, and `<!-- end -->`
after it. It is the table that `grace bench` prints (`grace.bench.table`), in per cent: means over seeds ± the
half-width of their 95 % t-interval. Costs are left out: long benches run beside other work, and
benchmarks/train_step.py measures them: `<!-- cost: PATH -->` is the table of its file, in steps of vanilla fine-tuning.
`speed`, `products` and `tries` are those of benchmarks/curvature.py's files, `intervals` of benchmarks/intervals.py's,
`attacks` of benchmarks/attacks.py's.
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
DOCUMENTS = tuple(
    ROOT / name for name in ("README.md", "docs/comparison.md", "docs/measures.md", "benchmarks/README.md")
)
MARKED = re.compile(
    r"(<!-- (bench|cost|speed|products|tries|intervals|attacks): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL
)
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


def speed(found: Mapping[str, Any]) -> str:
    """A line a case and task, a column a method: seconds, products in brackets, and the ratio to ours."""
    rows = []
    for case, tasks in found["cases"].items():
        for task in [name for name in tasks if name.startswith(("top-", "trace", "density"))]:
            ours = tasks[task].get("geomlab", {}).get("seconds", math.nan)
            cells = [took(tasks[task].get(method), ours) for method in METHODS]
            rows.append([f"{case}, {task}", *cells])
    return markdown(["images in the name", *METHODS], rows)


def took(entry: Mapping[str, Any] | None, ours: float) -> str:
    """`41 s (30), 2.2×`; what did not get there, or was stopped, says so."""
    if entry is None:
        return MISSING
    if "fails" in entry:
        return "fails"
    if entry.get("stopped") and entry.get("before"):
        entry = entry["before"][-1]  # the last that came to an end
    text = f"{entry['seconds']:.3g} s ({entry['products']})"
    if entry.get("stopped"):
        return f"stopped: > {text}"
    if entry.get("reached") is False:
        return f"{text}, residual {max(entry['relative_residuals']):.0e}"
    return text if entry["seconds"] == ours else f"{text}, {entry['seconds'] / ours:.1f}×"


def products(found: Mapping[str, Any]) -> str:
    """A line a case: seconds of a gradient, and a product by each method in gradients."""
    cases = {name: tasks["product"] for name, tasks in found["cases"].items() if "product" in tasks}
    ways = list(next(iter(cases.values()))["in_gradients"])[1:]
    rows = [
        [
            name,
            f"{entry['seconds']['gradient']:.3g} s",
            *(f"{entry['in_gradients'][way]:.1f}" for way in ways),
        ]
        for name, entry in cases.items()
    ]
    return markdown(["", "gradient", *ways], rows)


def tries(found: Mapping[str, Any]) -> str:
    """A line a way, a column a case: in products as they are, and what it takes once."""
    cases = {name: tasks["tries"] for name, tasks in found["cases"].items() if "tries" in tasks}
    ways = list(dict.fromkeys(way for entries in cases.values() for way in entries))
    rows = [[way, *(tried(entries.get(way)) for entries in cases.values())] for way in ways]
    return markdown(["", *cases], rows)


def tried(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return MISSING
    if "fails" in entry:
        return "fails"
    once = entry.get("preparing_seconds", 0) + entry.get("finishing_wall_seconds", 0)
    return f"{entry['in_products']:.2f}" + (f", {once:.0f} s once" if once else "")


def intervals(found: Mapping[str, Any]) -> str:
    """A line a measure: the shares that cover, with median lengths in deviations in brackets, and the biases."""
    rows = []
    for name, entry in found["measures"].items():
        cells = [
            f"{100 * entry[way]['covers expected']:.1f} ({entry[way]['length'] / entry['deviation']:.1f})"
            for way in INTERVALS
        ]
        limits = [entry[way].get("covers limit", math.nan) for way in ("geomlab", "basic")]
        biases = [entry.get(f"bias of the {what}", math.nan) for what in ("bootstrap", "measure")]
        ends = [f"{100 * x:.1f}" for x in limits] + [f"{x:z.1f}".replace("-", "−") for x in biases]
        rows.append([name, str(entry["n"]), *cells, *(MISSING if x == "nan" else x for x in ends)])
    of_limit = [f"of the limit: {way}" for way in ("geomlab", "basic")]
    return markdown(["", "n", *INTERVALS, *of_limit, "bias of the bootstrap", "bias of the measure"], rows)


def attacks(found: Mapping[str, Any]) -> str:
    """A line a case and attack: accuracies left, mean over seeds, their paired difference, and seconds."""
    rows = []
    for case, pieces in found["cases"].items():
        for piece, entry in pieces.items():
            ours, theirs = (entry[name] for name in ("geomlab", "pyautoattack"))
            mean = [f"{sum(one['accuracy']) / len(one['accuracy']):.2f}" for one in (ours, theirs)]
            apart = entry["geomlab minus pyautoattack"], entry["standard error"]
            between = entry.get("disagree, pyautoattack between seeds", math.nan)
            ratios = [entry.get(f"seconds, pyautoattack over {name}", math.nan) for name in TIMED]
            rows.append(
                [
                    f"{case}, {piece}",
                    str(len(ours["accuracy"])),
                    *mean,
                    f"{apart[0]:z.2f} ± {apart[1]:.2f}".replace("-", "−"),
                    f"{entry['disagree']:.2f}",
                    MISSING if math.isnan(between) else f"{between:.2f}",
                    *(MISSING if math.isnan(ratio) else f"{ratio:.1f}" for ratio in ratios),
                ]
            )
    columns = ["", "seeds", "geomlab", "pyautoattack", "difference", "disagree", "between seeds", *RATIOS]
    return markdown(columns, rows)


TIMED = ("geomlab", "geomlab, no stop")
RATIOS = ("seconds, theirs over ours", "without stopping")
INTERVALS = ("geomlab", "percentile", "basic", "normal")
METHODS = (
    "geomlab",
    "geomlab, no search",
    "geomlab, no deflation",
    "pyhessian",
    "curvlinops",
    "curvlinops, xtrace",
    "eigenthings",
)
TABLES = {
    "bench": bench,
    "cost": cost,
    "speed": speed,
    "products": products,
    "tries": tries,
    "intervals": intervals,
    "attacks": attacks,
}


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
