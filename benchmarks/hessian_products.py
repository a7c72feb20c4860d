"""Kept against recomputed graphs, and the top eigenvalues beside pyhessian's: one process, same data, medians.

python benchmarks/hessian_products.py [--samples 250] [--repeats 7] [--out benchmarks/results/hessian_products.json]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pyhessian
import torch
from torch import nn

import geomlab
from geomlab.curvature.hessian import Hessian
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.environment import machine, versions
from geomlab.linalg.lanczos import eigenpairs
from geomlab.risk import gradient
from geomlab.rng import generator
from geomlab.subject import Subject, twice_differentiable

K = 5


def median(work: Callable[[], object], repeats: int) -> float:
    """Median wall time in seconds, after one call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Normalised(nn.Module):
    """A subject as pyhessian wants it: a module with its weights inside."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.inner = deepcopy(subject.module).requires_grad_(True)
        self.normalise = subject._normalise

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(self.normalise(images))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--samples", type=int, default=250)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/hessian_products.json"))
    args = options.parse_args()
    torch.set_num_threads(2)
    subject = geomlab.load(checkpoint_path("ft"))
    conditions = parse_conditions(
        ["clean"], open_source("glyphs"), n=args.samples, seed=0, batch_size=args.samples
    )
    batches = conditions[0].realise(subject)
    names = list(subject.weights)
    kept, recomputed = Hessian(subject, batches, names), Hessian(subject, batches, names, memory=0)
    vector = torch.randn(kept.dim, generator=generator(0, "vector"))

    start = time.perf_counter()
    top, _ = eigenpairs(Hessian(subject, batches, names), K, generator(0, "lanczos"))
    ours = time.perf_counter() - start

    images, labels = next(iter(batches))
    start = time.perf_counter()
    # pyhessian breaks on attention unless its backward is told to use plain products.
    with twice_differentiable():
        theirs = pyhessian.hessian(
            Normalised(subject), nn.CrossEntropyLoss(), data=(images, labels), cuda=False
        )
        values, vectors = theirs.eigenvalues(top_n=K)
    peer = time.perf_counter() - start
    residuals = []
    for value, pieces in zip(values, vectors, strict=True):
        flat = torch.cat([piece.reshape(-1) for piece in pieces])
        residuals.append(float((kept.matvec(flat) - value * flat).norm() / abs(value)))

    times = {
        "gradient": median(lambda: gradient(subject, batches, names), args.repeats),
        "product, kept graph": median(lambda: kept.matvec(vector), args.repeats),
        "product, recomputed graph": median(lambda: recomputed.matvec(vector), args.repeats),
    }
    report = {
        "command": "python benchmarks/hessian_products.py",
        "samples": args.samples,
        "repeats": args.repeats,
        "threads": torch.get_num_threads(),
        "parameters": kept.dim,
        "seconds": times,
        "in_gradients": {name: seconds / times["gradient"] for name, seconds in times.items()},
        f"top-{K}": {
            "geomlab": {
                "seconds": ours,
                "products": top.products,
                "eigenvalues": top.values.tolist(),
                "relative_residuals": top.relative_residuals.tolist(),
            },
            "pyhessian": {"seconds": peer, "eigenvalues": values, "relative_residuals": residuals},
            "ratio": peer / ours,
        },
        "machine": machine(),
        "versions": versions(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
