"""The whole bench: its cells, then bench.json and the table of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geomlab import files, progress
from geomlab.errors import UserError
from geomlab.tables import MISSING, Table
from grace.bench import plan as plans
from grace.bench import workers
from grace.bench.cells import attempt
from grace.bench.plan import Plan, Request
from grace.bench.table import rows, tabulate

LISTED = "bench.json"


def bench(request: Request, out: Path, say: Callable[[str], None] = print) -> Table:
    """Train and judge what is not there yet, and write `OUT/bench.json`, `.txt`, `.csv` and `.tex`.

    Args:
        request: what to do.
        out: folder.
        say: takes a line for each cell that is done.

    Raises:
        UserError: if something cannot be used, is in the way, or a run diverged; what is done stays.
        KeyboardInterrupt: after a signal; the same call goes on.
    """
    plan = plans.make(request, out)
    _check_covered(out / LISTED, plan, overwrite=request.overwrite)
    plans.make_room(plan, out, overwrite=request.overwrite)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    failed: list[str] = []
    with progress.bar(len(plan.cells), "bench") as bar:
        for cell, result in workers.run(plan.jobs(request.threads), request.workers, attempt):
            found[cell.label, cell.seed] = result
            if "error" in result:
                failed.append(result["error"])
            say(result.get("error") or describe(result))
            bar.advance()
    if failed:
        raise UserError(
            f"{failed[0]} ({len(failed)} of {len(plan.cells)} runs diverged, the others are done; leave their method "
            "out of --methods, or change its settings)"
        )
    listed = rows([found[cell.label, cell.seed] for cell in plan.cells])
    table = tabulate(listed, title="Methods", caption=_caption(plan, listed))
    content = json.dumps(listed, indent=1, allow_nan=False) + "\n"
    for name, text in {
        LISTED: content,
        "bench.txt": f"{table}\n",
        "bench.csv": table.to_csv(),
        "bench.tex": table.to_latex(),
    }.items():
        try:
            files.replace(out / name, text.encode())
        except OSError as error:
            raise UserError(f"{out / name}: cannot be written ({error.strerror}); make room") from error
    return table


def describe(result: dict[str, Any]) -> str:
    """A cell in one line."""
    axes = {"ID": "id", "OOD": "ood", "Adv": "adv", "HM": "harmonic_mean"}
    shown = (
        f"{name} {MISSING if result[key] is None else format(result[key], '.3f')}"
        for name, key in axes.items()
    )
    return f"{result['method']}, seed {result['seed']}: {'  '.join(shown)}"


def _check_covered(path: Path, plan: Plan, *, overwrite: bool) -> None:
    """Refuse to drop rows of an earlier bench from the list."""
    if overwrite or not path.exists():
        return
    try:
        rows_there = json.loads(path.read_text(encoding="utf-8"))
        listed = {(str(row["method"]), int(row["seed"])) for row in rows_there}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: no list of a bench; choose another --out, or --overwrite") from error
    dropped = sorted(listed - {(cell.label, cell.seed) for cell in plan.cells})
    if dropped:
        method, seed = dropped[0]
        raise UserError(
            f"{path} lists {method}, seed {seed}, which is not asked for here; add it, choose another --out, or "
            "--overwrite"
        )


def _caption(plan: Plan, listed: list[dict[str, Any]]) -> str:
    judge, seeds = plan.cells[0].judge, len({cell.seed for cell in plan.cells})
    counts = sorted({n for row in listed for n in row["n"].values()})
    samples = " or ".join(map(str, counts))
    held_back = f", the {judge.held_back:.0%} held back from training" if judge.held_back else ""
    domains = sum(name.startswith("domain:") for name in listed[0]["n"])
    parts = [
        f"Accuracy on {judge.data}{held_back} ({samples} samples a condition), the mean over {seeds} seeds with its "
        "95 % t-interval (n: seeds; none for what takes no step, which no seed changes).",
        f"ID: the first domain. OOD: the mean over {domains} others." if domains else "ID: the only domain.",
        "" if domains else "OOD and the harmonic mean are not defined: the data has one domain.",
        f"Adv: right under both PGD-20 and APGD-CE, ε = {judge.eps * 255:.4g}/255.",
        "The harmonic mean of the three is 0 where one of them is." if domains else "",
        "Drift: ‖θ−θ₀‖/‖θ₀‖ of the image tower. Cost: median seconds a step, as a multiple of ft's.",
        "There is no test data: ID and Adv are of the samples trained on." if plan.trained_on else "",
    ]
    return " ".join(filter(None, parts))
