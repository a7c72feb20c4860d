"""Planes side by side: ours on a grid and adaptively, loss-landscapes, and the loop of tomgoldstein/loss-landscape.

python benchmarks/landscape.py [--cases embedded-200,resnet20-100] [--tasks error,cost,ways] [--truth 400] [--repeats 7]
    [--side 51] [--no-walk] [--threads 1] [--device cpu|cuda] [--out benchmarks/results/landscape.json]

One process, the same data in one batch, the same plane of two random, filter-normalised directions (`ways` also along
eigenvectors). Errors are those of `geomlab.landscape.adaptive`, in nats up to a loss of 1 and relative beyond, at
random places that nobody has measured. Forward passes are counted; seconds are CPU seconds of the process, or wall
seconds on a GPU. Finished pieces are written at once and not done again; delete the file to begin anew.
"""

import argparse
import shlex
import statistics
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator, RBFInterpolator
from side_by_side import cases, meter, planes
from side_by_side.meter import clock
from side_by_side.report import Report

from geomlab.rng import generator

PACKAGES = ("loss-landscapes", "adaptive", "scipy")
TOLERANCES = [float(f"{one:.3g}") for one in np.geomspace(0.03, 0.009, 12)]
MOST = 900  # points of ours
POINTS = 4  # a side, of what is timed


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default="embedded-200,resnet20-100")
    options.add_argument("--tasks", default="error,cost,ways")
    options.add_argument("--truth", type=int, default=400, help="random places at which surfaces are judged")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--side", type=int, default=51, help="of the grids")
    options.add_argument(
        "--walk",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether loss-landscapes walks its whole grid, which takes as long as ours",
    )
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--device", default="cpu")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/landscape.json"))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # as of matrix products by default
    meter.GPU = torch.device(args.device).type == "cuda"
    report = Report(args.out, facts(args), PACKAGES)
    for name in args.cases.split(","):
        case = cases.build(name, args.device)
        report.describe(case)
        plane = planes.Plane.of(case, ("random", "random"))
        for task in args.tasks.split(","):
            work = {"error": error, "cost": cost, "ways": ways}[task]
            report.add(("cases", name, task), lambda work=work, plane=plane: work(plane, args))  # type: ignore[misc]


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run."""
    return {
        "command": shlex.join(["python", "benchmarks/landscape.py", *sys.argv[1:]]),
        "side": args.side,
        "threads": args.threads,
        "seconds": "wall" if meter.GPU else "cpu",
        "device": torch.cuda.get_device_name(args.device) if meter.GPU else "cpu",
    }


def error(plane: planes.Plane, args: argparse.Namespace) -> dict[str, Any]:
    """Passes and errors of each, against random places."""
    places, truth = judged(plane, args.truth)
    grid = planes.square(args.side)
    losses = plane.at(grid)
    found: dict[str, Any] = {
        "loss": [float(q) for q in np.quantile(truth, [0, 0.25, 0.5, 0.75, 1])],
        "grid": {
            "passes": len(grid),
            "linear": planes.errors(planes.of_grid(losses, places, "linear"), truth),
            "cubic": planes.errors(planes.of_grid(losses, places, "cubic"), truth),
        },
    }
    some = np.random.default_rng(1).choice(len(grid), 81, replace=False)
    apart = np.abs(plane.plain(grid[some]) - losses[some]).max()
    found["plain loop"] = found["grid"] | {"largest difference from ours at 81 points": float(apart)}
    if args.walk:
        found["loss-landscapes"] = of_loss_landscapes(plane, args.side, places, truth)
    found["adaptive"] = {}
    for tolerance in TOLERANCES:
        points, samples, verdict = planes.adaptive(plane, tolerance, MOST)
        found["adaptive"][str(tolerance)] = {
            "passes": len(points),
            **planes.errors(planes.through(points, samples, places), truth),
            "stated": verdict.error,
            "reached": verdict.reached,
            "check_error": verdict.check_error,
            "checked": verdict.checked,
            "through mean losses": planes.errors(planes.through_means(points, samples, places), truth),
        }
    found["at the error of the linear grid"] = like(found["grid"]["linear"], found["adaptive"].values())
    found["fewer passes"] = len(grid) / found["at the error of the linear grid"]["passes"]
    return found


def like(goal: dict[str, float], entries: Collection[dict[str, Any]]) -> dict[str, float]:
    """Passes at which a power law through the errors of all tolerances has those of a goal, both of them.

    A single tolerance that happens to do well would be luck: points depend on the errors of those before them.
    """
    found = {}
    passes = np.log([entry["passes"] for entry in entries])
    for kind in ("rms", "max"):
        slope, constant = np.polyfit(passes, np.log([entry[kind] for entry in entries]), 1)
        found[kind] = float(np.exp((np.log(goal[kind]) - constant) / slope))
    return found | {"passes": max(found.values())}


def of_loss_landscapes(
    plane: planes.Plane, side: int, places: planes.Array, truth: planes.Array
) -> dict[str, Any]:
    """Its surface as it is returned, and with each loss put where it was taken.

    It documents start + i·d0 + j·d1. It walks to and fro, steps before it measures, and turns every other row round: in
    even rows j is one too small. Neither the centre nor the last row is among its points.
    """
    losses = plane.loss_landscapes(side)
    i, j = np.divmod(np.arange(side**2), side)
    taken = np.stack([i / side, (j + (i % 2 == 0)) / side], 1)
    some = np.random.default_rng(1).choice(side**2, 81, replace=False)
    steps = np.arange(side) / side
    moved = LinearNDInterpolator(taken, losses.ravel())(places)
    return {
        "passes": losses.size,
        "linear": planes.errors(planes.of_grid(losses, places, "linear", [steps, steps]), truth),
        "linear, losses put where they were taken": planes.errors(moved, truth),
        "largest difference from ours there, at 81 points": float(
            np.abs(losses.ravel()[some] - plane.at(taken[some])).max()
        ),
    }


def cost(plane: planes.Plane, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a point in bare passes of the same data, in turn, before and after each of which these are timed."""
    grid, forward = planes.square(POINTS), plane.forward()
    works: dict[str, Callable[[], Any]] = {
        "geomlab": lambda: plane.ours(grid),
        "geomlab, adaptive": lambda: plane.ours(grid, keep_samples=True),
        "plain loop": lambda: plane.plain(grid),
        "loss-landscapes": lambda: plane.loss_landscapes(POINTS),
    }
    for work in works.values():
        work()
    bare, ratios = [], {name: [] for name in works}
    for _ in range(args.repeats):
        for name, work in works.items():
            times = [timed(lambda: [forward() for _ in range(len(grid) // 2)])]
            took = timed(work)
            times.append(timed(lambda: [forward() for _ in range(len(grid) // 2)]))
            ratios[name].append(took / sum(times))
            bare.append(sum(times) / len(grid))
    return {
        "seconds of a bare pass": statistics.median(bare),
        "point in bare passes": {name: statistics.median(found) for name, found in ratios.items()},
        "quartiles": {name: np.quantile(found, [0.25, 0.75]).tolist() for name, found in ratios.items()},
        "repeats": args.repeats,
    }


def ways(random: planes.Plane, args: argparse.Namespace) -> dict[str, Any]:
    """What was tried: root mean square and largest error by the number of points."""
    pairs = {"random": random}
    if random.case.name.startswith("embedded"):
        pairs["eigenvectors"] = planes.Plane.of(random.case, ("eigenvector:1", "eigenvector:2"))
    return {name: tried(plane, args) for name, plane in pairs.items()}


def tried(plane: planes.Plane, args: argparse.Namespace) -> dict[str, Any]:
    places, truth = judged(plane, args.truth)
    found: dict[str, Any] = {}

    def add(way: str, points: int, surface: planes.Array) -> None:
        found.setdefault(way, {})[str(points)] = planes.errors(surface, truth)

    for side in (9, 13, 17, 23):
        grid = planes.square(side)
        samples = plane.samples(grid)
        losses = samples.mean(1)
        for method in ("linear", "cubic", "quintic"):
            add(f"grid, {method}", side**2, planes.of_grid(losses, places, method))
        add("grid, Clough-Tocher", side**2, CloughTocher2DInterpolator(grid, losses)(places))
        add("grid, thin plate", side**2, RBFInterpolator(grid, losses)(places))
        add("grid, r⁵ of all points", side**2, RBFInterpolator(grid, losses, kernel="quintic")(places))
        add("grid, r⁵ of 50 points", side**2, planes.through_means(grid, samples, places))
        add("grid, margins, r⁵ of 50 points", side**2, planes.through(grid, samples, places))
        knots = (1 - np.cos(np.pi * np.linspace(0, 1, side))) / 2
        at = np.stack(np.meshgrid(knots, knots, indexing="ij"), -1).reshape(-1, 2)
        inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(2 * knots - 1, side - 1))
        terms = inverse @ plane.at(at).reshape(side, side) @ inverse.T
        add("Chebyshev", side**2, np.polynomial.chebyshev.chebval2d(*(2 * places - 1).T, terms))
    for tolerance in (0.03, 0.02, 0.01):
        points, samples, _ = planes.adaptive(plane, tolerance, MOST)
        losses = samples.mean(1)
        add("adaptive, ours", len(points), planes.through(points, samples, places))
        add("adaptive, mean losses", len(points), planes.through_means(points, samples, places))
        add("adaptive, Clough-Tocher", len(points), CloughTocher2DInterpolator(points, losses)(places))
    for count in (150, 300, 500):
        points, losses = learnt(plane, count)
        add("adaptive.Learner2D, linear", count, LinearNDInterpolator(points, losses)(places))
        add("adaptive.Learner2D, Clough-Tocher", count, CloughTocher2DInterpolator(points, losses)(places))
    return found


def learnt(plane: planes.Plane, count: int) -> tuple[planes.Array, planes.Array]:
    """Points that the package `adaptive` chooses."""
    from adaptive import Learner2D

    learner = Learner2D(lambda point: float(plane.at(np.array([point]))[0]), bounds=((0, 1), (0, 1)))
    while learner.npoints < count:
        for point in learner.ask(1)[0]:
            learner.tell(point, learner.function(point))
    return np.array(list(learner.data)), np.array(list(learner.data.values()))


def judged(plane: planes.Plane, count: int) -> tuple[planes.Array, planes.Array]:
    """Random places and the losses there."""
    places = torch.rand(count, 2, generator=generator(0, "places"), dtype=torch.float64).numpy()
    return places, plane.at(places)


def timed(work: Callable[[], Any]) -> float:
    start = clock()
    work()
    return clock() - start


if __name__ == "__main__":
    main()
