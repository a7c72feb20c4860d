"""The library's intervals of features' measures beside bootstraps over samples: how often they cover, and their length.

python benchmarks/intervals.py [--measures "RSA;SVCCA"] [--draws 200] [--resamples 200] [--others 1000]
    [--out benchmarks/results/intervals.json]

Every draw is a new sample of n of a population (`side_by_side/draws.py`); each interval is to cover in 95 % of draws.
`expected` is the mean of the measure over other draws of n, which is what the library's intervals are of; `limit` is
what it is of infinitely many samples. The bias of the bootstrap is the mean of its replicates less the value, that of
the measure is `expected` less `limit`, both in standard deviations of the value over the other draws. Finished pieces
are written at once and not done again; delete the file to begin anew.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch
from side_by_side.bootstrap import bootstrapped, judged, replicates
from side_by_side.draws import PROBLEMS, Problem
from side_by_side.report import Report


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--measures", default=";".join(PROBLEMS))
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--resamples", type=int, default=200)
    options.add_argument("--others", type=int, default=1000, help="draws that give what is expected")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/intervals.json"))
    args = options.parse_args()
    torch.set_num_threads(1)
    facts = {
        "command": shlex.join(["python", "benchmarks/intervals.py", *sys.argv[1:]]),
        "draws": args.draws,
        "resamples": args.resamples,
        "others": args.others,
    }
    report = Report(args.out, facts, ("scipy",))
    for name in args.measures.split(";"):
        problem = PROBLEMS[name]
        report.add(("measures", name), lambda p=problem: beside(p, args.draws, args.resamples, args.others))


def beside(problem: Problem, draws: int, resamples: int, others: int) -> dict[str, Any]:
    """Each interval's share of draws in which it covers, and median length; and the bias of the bootstrap."""
    begun = time.perf_counter()
    values = torch.tensor(
        [problem.draw(draws + i, problem.n).value for i in range(others)], dtype=torch.float64
    )
    deviation, targets = float(values.std()), {"expected": float(values.mean())}
    if problem.limit:
        targets["limit"] = problem.limit()
    ends: dict[str, list[tuple[float, float]]] = {}
    biases, undefined = [], 0
    for seed in range(draws):
        sample = problem.draw(seed, problem.n)
        again = replicates(sample.statistic, sample.sizes, resamples, seed)
        value = sample.value
        undefined += int((~again.isfinite()).sum())
        biases.append(float(again.nanmean()) - value)
        for way, both in {"geomlab": sample.interval(), **bootstrapped(value, again)}.items():
            ends.setdefault(way, []).append(both)
    found: dict[str, Any] = {"n": problem.n, **targets, "deviation": deviation}
    found["bias of the bootstrap"] = sum(biases) / draws / deviation
    if "limit" in targets:
        found["bias of the measure"] = (targets["expected"] - targets["limit"]) / deviation
    found["undefined replicates"] = undefined
    for way, several in ends.items():
        found[way] = judged(several, targets)
    return found | {"seconds": round(time.perf_counter() - begun, 1)}


if __name__ == "__main__":
    main()
