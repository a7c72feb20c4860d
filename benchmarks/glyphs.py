"""The methods on the digits, what was tried for GRACE, and what more steps change.

python benchmarks/glyphs.py [--part methods] [--workers 2] [--out build/glyphs] [--results benchmarks/results]

Each part is a `grace bench` at the budget `standard`, tuned by benchmarks/tune_glyphs.py:

- methods: every method with five seeds, judged on 300 test digits; the rows of the paper's Table 8; vanilla fine-tuning
  at its recipe's own rate too, which gains more ID; and GRACE as it came out best of `choices`: more trials than the
  others had.
- choices: GRACE where METHOD.md says [O], with two seeds, judged on the held-back digits.
- longer: that variant and the method to beat at three times the steps, judged on the held-back digits.

Each writes glyphs_PART.json: the command, the machine's kind, versions, and the rows of bench.json, each with the terms
of its loss, means over the last LAST steps, weighted as they are added up. What was stopped goes on.
"""

import argparse
import json
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geomlab import files
from geomlab.environment import machine, versions
from grace import cli

METHODS = (
    "zero-shot,ft,ft:optimisation.lr=0.001,lp-ft,wise-ft,flyp,tpgm,spd,sam,asam,lora-ft,lora-spd,vpt-pmg-aft,"
    "tecoa,fare,pmg-aft,laat,awp,lora-tecoa,lora-at,"
    "grace:lambda_lar=0,lambda_gv=0,grace:lambda_lar=0,grace:lambda_gv=0,curriculum=false,grace:lambda_gv=0,grace,"
    "grace:lambda_lar=1,rho=0.01"
)
CHOICES = (
    "lora-at,grace,grace:rho=0.01,grace:lambda_lar=1,rho=0.01,grace:lambda_lar=0.5,rho=0.01,"
    "grace:lambda_lar=1,rho=0.01,lambda_gv=20,"
    r"grace:lambda_lar=1,rho=0.01,lora.targets='^visual\..*\.mlp\.'"
)
LONGER = "lora-at,grace:lambda_lar=1,rho=0.01"
LAST = 20
NO_TERMS = {"step", "loss", "gradient_norm", "lr", "seconds"}
HELD_BACK = ("--held-back", "--seeds", "2")
PARTS: dict[str, tuple[str, ...]] = {
    "methods": ("--methods", METHODS, "--seeds", "5", "--samples", "300"),
    "choices": ("--methods", CHOICES, *HELD_BACK),
    "longer": ("--methods", LONGER, *HELD_BACK, "--set", "optimisation.max_steps=600"),
}


def last_terms(runs: Path) -> dict[tuple[str, int], dict[str, float]]:
    """By method and seed: the mean of each term of the loss over the last steps of a run, if it took any."""
    found = {}
    for path in runs.glob("*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        logs = [log.read_text(encoding="utf-8").splitlines()[-LAST:] for log in path.parent.glob("*.jsonl")]
        lines: list[dict[str, Any]] = [json.loads(line) for log in logs for line in log]
        terms = [name for name in (lines[0] if lines else ()) if name not in NO_TERMS]
        means = {name: statistics.fmean(line[name] for line in lines) for name in terms}
        found[result["method"], result["seed"]] = means
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--part", choices=PARTS, action="append", help="without: all")
    options.add_argument("--workers", default="2")
    options.add_argument("--out", type=Path, default=Path("build/glyphs"))
    options.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    args = options.parse_args(arguments)
    for part in args.part or PARTS:
        out = args.out / part
        status = cli.main(["bench", *PARTS[part], "--workers", args.workers, "--out", str(out)])
        if status:
            raise SystemExit(status)
        rows = json.loads((out / "bench.json").read_text(encoding="utf-8"))
        terms = last_terms(out / "runs")
        content = {
            "schema": 1,
            "command": shlex.join(["grace", "bench", *PARTS[part]]),
            "machine": machine(),
            "versions": versions(),
            "rows": [row | {"terms": terms[row["method"], row["seed"]]} for row in rows],
        }
        path = args.results / f"glyphs_{part}.json"
        files.replace(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    main()
