"""CKA of all layers with all layers beside torch_cka, ckatorch and anatome's formula; and measures of 50,000 samples.

python benchmarks/features.py [--cases embedded-4000,resnet20-4000] [--tasks cka,memory,many,neighbours,ways]
    [--repeats 5] [--threads 1] [--out benchmarks/results/features.json]

Everyone has the same network, images and passes of 250 images, with itself, and the same features: tokens and maps
averaged, in fp32. Correct is who comes within 1e-4 of the n × n formula in fp64. `all` layers are all modules that give
a tensor of their own, `blocks` those that the library takes by itself. Seconds are CPU seconds of the process, forward
passes included, in `cka` on one thread; those of `many` and `neighbours` are wall seconds on two. What takes O(n³) for
each pair is timed on a few layers, and the rest reckoned from their pairs. Finished pieces are written at once and not
done again; delete the file to begin anew.
"""

import argparse
import ctypes
import gc
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from side_by_side import cases, large
from side_by_side.meter import clock, peak, reset_peak
from side_by_side.report import Report
from side_by_side.similarity import BATCH, Layers

PACKAGES = ("torch_cka", "ckatorch", "faiss-cpu", "pynndescent", "numba")
TOLERANCE = 1e-4  # of the largest difference
PART = 2  # layers of those whose pairs take O(n³)
SIZES = (1000, 2000, 4000)  # of `memory`
MANY = {"many": large.many, "neighbours": large.neighbours, "ways": large.ways}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default="embedded-4000,resnet20-4000")
    options.add_argument("--tasks", default="cka,memory,many,neighbours,ways")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--threads", type=int, default=1, help="of cka, memory and ways")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/features.json"))
    args = options.parse_args()
    tasks = args.tasks.split(",")
    report = Report(args.out, facts(args), PACKAGES)
    for name in args.cases.split(","):
        torch.set_num_threads(args.threads)
        if not {"cka", "memory"} & {*tasks}:
            continue
        case = cases.build(name, "cpu")
        report.describe(case)
        for kind, layers in {"all": Layers.every(case), "blocks": Layers.blocks(case)}.items():
            if "cka" in tasks:
                report.add(
                    ("cases", name, f"cka, {kind}"), lambda layers=layers: beside(layers, args.repeats)
                )
        if "memory" in tasks:
            report.add(("cases", name, "memory"), lambda case=case: memory(Layers.every(case)))
    for task in [task for task in tasks if task in MANY]:
        torch.set_num_threads(args.threads if task == "ways" else 2)
        report.add((task,), MANY[task])


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run, and how busy the machine was when it began."""
    return {
        "command": shlex.join(["python", "benchmarks/features.py", *sys.argv[1:]]),
        "threads": args.threads,
        "seconds": "cpu",
        "load": os.getloadavg()[0],
        "batch": BATCH,
    }


def beside(layers: Layers, repeats: int) -> dict[str, Any]:
    """Seconds of each, taken in turn, its largest difference from the truth, and the ratio to the fastest correct."""
    few = layers.first(PART)
    quick: dict[str, Callable[[], Any]] = {
        "forward": layers.forward,
        "geomlab": layers.ours,
        "geomlab, products in fp64": lambda: layers.ours(torch.float64),
        "full matrix": lambda: layers.full_matrix(debias=False),
        "full matrix, debiased": lambda: layers.full_matrix(debias=True),
        "full matrix, debiased, half": lambda: layers.full_matrix(debias=True, half=True),
    }
    times: dict[str, list[float]] = {name: [] for name in quick}
    given: dict[str, Any] = {}
    for _ in range(repeats):
        for name, work in quick.items():
            seconds, given[name] = timed(work)
            times[name].append(seconds)
    forward = statistics.median(times["forward"])
    truth = {debias: layers.truth(debias=debias) for debias in (False, True)}
    found: dict[str, Any] = {"layers": len(layers.names), "widths": sum(f.shape[1] for f in layers.features)}
    found["forward"] = {"seconds": forward}
    for name in [name for name in quick if name != "forward"]:
        away = difference(given[name], truth[name != "full matrix"])
        found[name] = {"seconds": statistics.median(times[name]), "difference": away}
        found[name]["least and most"] = [min(times[name]), max(times[name])]
    seconds, out = timed(lambda: layers.torch_cka(BATCH))
    found[f"torch_cka, batches of {BATCH}"] = {
        "seconds": seconds,
        "difference": difference(out, truth[True]),
    }
    for name, work in {
        "torch_cka, one batch": lambda: few.torch_cka(few.n),
        "ckatorch, one batch": lambda: few.ckatorch(few.n),
        f"ckatorch, batches of {BATCH}": lambda: few.ckatorch(BATCH),
    }.items():
        seconds, out = timed(work)
        pairs = (len(layers.names) / PART) ** 2
        found[name] = {
            "seconds": 2 * forward + max(seconds - 2 * forward, 0) * pairs,
            "reckoned from": {"layers": PART, "seconds": seconds},
            "difference": difference(out, few.truth(debias=True)),
        }
    return found | ratios(found)


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Of each that is correct to ours, of all and of what is beyond the forward passes."""
    ours, forward = found["geomlab"]["seconds"], found["forward"]["seconds"]
    correct = {
        name: entry["seconds"]
        for name, entry in found.items()
        if not name.startswith("geomlab")
        and isinstance(entry, dict)
        and entry.get("difference", 1) < TOLERANCE
    }
    found = {"correct, over geomlab": {name: seconds / ours for name, seconds in correct.items()}}
    if ours > 1.1 * forward:  # else the rest of ours is noise
        found["correct, over geomlab, beyond one forward"] = {
            name: (seconds - forward) / (ours - forward) for name, seconds in correct.items()
        }
    return found


def memory(layers: Layers) -> dict[str, Any]:
    """MiB that each takes at its peak, beyond what is there before, by the number of images."""
    works: dict[str, Callable[[Layers], Any]] = {
        "geomlab": Layers.ours,
        "full matrix, debiased": lambda some: some.full_matrix(debias=True, half=True),
        "torch_cka, one batch, 2 layers": lambda some: some.first(PART).torch_cka(some.n),
        "ckatorch, one batch, 2 layers": lambda some: some.first(PART).ckatorch(some.n),
    }
    return {
        name: {str(n): taken(lambda n=n, work=work: work(layers.of(n))) for n in SIZES if n <= layers.n}
        for name, work in works.items()
    }


def taken(work: Callable[[], Any]) -> float:
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before is not in the way
    reset_peak()
    before = psutil.Process().memory_info().rss
    work()
    return (peak() - before) / 2**20


def difference(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.double() - truth).abs().max())


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what it gives."""
    start = clock()
    out = work()
    return clock() - start, out


if __name__ == "__main__":
    main()
