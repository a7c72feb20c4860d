"""Curvature side by side with other libraries: one process, the same data in one batch, the same precision.

python benchmarks/curvature.py [--cases embedded-250,embedded-1000,resnet20-1000,vit-b32-8] [--device cpu|cuda]
    [--tasks product,top-1,top-10,trace,density,scaling,tries,compiled]
    [--methods geomlab,pyhessian,curvlinops,eigenthings] [--threads 1] [--memory 12] [--vectors 12] [--limit 600]
    [--repeats 5] [--out benchmarks/results/curvature.json]

What is done is written after each piece and not done again; delete the file to begin anew. A method that is not done
after `--limit` seconds is stopped: what it took until then is a lower bound. Seconds are CPU seconds of the process on
a CPU, which other work on the machine does not change, and wall seconds on a GPU.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from side_by_side import cases, meter, scaling, solvers, tasks, tries
from side_by_side.report import Report

CASES = "embedded-250,embedded-1000,resnet20-1000,vit-b32-8"
PACKAGES = ("pyhessian", "curvlinops-for-pytorch", "hessian-eigenthings", "timm")
TASKS = "product,top-1,top-10,trace,density,scaling,tries,compiled"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default=CASES)
    options.add_argument("--tasks", default=TASKS)
    options.add_argument("--methods", default="geomlab,pyhessian,curvlinops,eigenthings")
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--memory", type=float, default=12, help="GiB that our graphs may take")
    options.add_argument("--vectors", type=float, default=12, help="GiB that our Lanczos vectors may take")
    options.add_argument("--limit", type=float, default=600, help="seconds a method may take for a task")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/curvature.json"))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # as of matrix products by default
    meter.GPU = torch.device(args.device).type == "cuda"
    solvers.MEMORY = args.memory * solvers.GIBIBYTE
    solvers.VECTORS = args.vectors * solvers.GIBIBYTE
    report = Report(args.out, facts(args), PACKAGES)
    chosen = args.tasks.split(",")
    for name in args.cases.split(","):
        case = cases.build(name, args.device)
        report.describe(case)
        for task in chosen:
            run(report, case, task, args)
    if "scaling" in chosen:
        report.add(("scaling",), lambda: scaling.fits(args.device, args.repeats))


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run."""
    return {
        "command": "python benchmarks/curvature.py",
        "tolerance": tasks.TOLERANCE,
        "trace_accuracy": tasks.ACCURACY,
        "density": {"probes": tasks.PROBES, "steps": tasks.STEPS},
        "limit": args.limit,
        "threads": args.threads,
        "memory_gib": args.memory,
        "vectors_gib": args.vectors,
        "seconds": "wall" if meter.GPU else "cpu",
        "device": torch.cuda.get_device_name(args.device) if meter.GPU else "cpu",
    }


def run(report: Report, case: cases.Case, task: str, args: argparse.Namespace) -> None:
    """One task of one case, by each method."""

    def add(name: Sequence[str], work: Callable[[], Mapping[str, Any]]) -> None:
        settings = {"limit": args.limit, "threads": args.threads}  # of this run
        report.add(("cases", case.name, *name), lambda: {**work(), **settings})

    if task == "product":
        add((task,), lambda: tasks.product(case, args.repeats))
    if task in ("tries", "compiled"):
        ways = tries.run if task == "tries" else tries.compile_it
        ways(case, args.repeats, lambda name, work: add(("tries", name), work))
    known = {"trace": tasks.TRACES, "density": tasks.DENSITIES}.get(task, solvers.SOLVERS)
    for method in [m for m in known if m.partition(",")[0] in args.methods.split(",")]:
        work: Callable[[], Any] | None = None
        if task.startswith("top-"):
            k = int(task.removeprefix("top-"))
            work = lambda method=method, k=k: tasks.top(case, method, k, args.limit)  # noqa: E731
        if task in ("trace", "density"):
            measure = getattr(tasks, task)
            work = lambda method=method, measure=measure: measure(case, method, args.limit)  # noqa: E731
        if work is not None:
            add((task, method), work)


if __name__ == "__main__":
    main()
