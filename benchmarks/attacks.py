"""APGD-CE and APGD-T beside pyautoattack's: robust accuracy and seconds, the same images, radius, steps and batches.

python benchmarks/attacks.py [--cases ft,zero-shot,resnet20] [--images 500] [--steps 100] [--seeds 3]
    [--threads 1] [--out benchmarks/results/attacks.json]

One random start and ρ = 0.75 for both; both leave a sample once it is misclassified, the package between its targets
and geomlab within a run as well; `geomlab, no stop` does not within runs. The difference of two methods is paired:
its standard error is over samples, of what each sample's mean over the seeds differs by; `disagree` is the share of
samples that one breaks and the other does not, of the same seed and, for scale, of one method between seeds. APGD-T
takes the larger radius only. Seconds are CPU seconds of the process, with the first pass over the clean images.
Finished pieces are written at once and not done again; delete the file to begin anew.
"""

import argparse
import math
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from side_by_side import cases
from side_by_side.meter import clock
from side_by_side.report import Report
from torch import Tensor

import geomlab
from geomlab.data.attacks import APGD, Attack
from geomlab.data.attacks.standard import put_back
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import NAMES, checkpoint_path
from geomlab.data.sources import open_source
from geomlab.rng import derive_seed, generator
from geomlab.subject import Subject

PACKAGES = ("pyautoattack",)
BATCH = 100
RADII = {
    "resnet20": (1.0, 0.5),
    "zero-shot": (2.0, 1.0),
    "ft": (4.0, 2.0),
}  # /255: neither 0 nor all are left
PACKAGE = {"apgd-ce": "ce", "apgd-t": "dlr-t"}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default="ft,zero-shot,resnet20")
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--seeds", type=int, default=3, help="of apgd-ce; apgd-t has one")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/attacks.json"))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    facts = {
        "command": shlex.join(["python", "benchmarks/attacks.py", *sys.argv[1:]]),
        "images": args.images,
        "steps": args.steps,
        "threads": args.threads,
        "batch": BATCH,
        "seconds": "cpu",
        "load": os.getloadavg()[0],
    }
    report = Report(args.out, facts, PACKAGES)
    for name in args.cases.split(","):
        subject, inputs = case(name, args.images)
        for attack, radius in (*(("apgd-ce", radius) for radius in RADII[name]), ("apgd-t", RADII[name][0])):
            seeds = args.seeds if attack == "apgd-ce" else 1
            report.add(
                ("cases", name, f"{attack}, {radius:g}/255"),
                lambda subject=subject, inputs=inputs, attack=attack, radius=radius, seeds=seeds: beside(
                    subject, inputs, attack, eps=radius / 255, steps=args.steps, seeds=seeds
                ),
            )


def case(name: str, images: int) -> tuple[Subject, Batches]:
    """An embedded checkpoint on rendered digits, or the ResNet-20 on CIFAR-10."""
    if name not in NAMES:
        subject, inputs = cases.resnet20(images)
        return subject, replace(inputs, images=inputs.images.contiguous())  # the package takes no other
    subject = geomlab.load(checkpoint_path(name))
    (clean,) = parse_conditions(
        ["clean"], open_source("glyphs:split=all"), n=images, seed=0, batch_size=BATCH
    )
    return subject, clean.realise(subject)


def beside(
    subject: Subject, inputs: Batches, name: str, *, eps: float, steps: int, seeds: int
) -> dict[str, Any]:
    """Robust accuracy in points and seconds of each seed, and the package's compared with ours."""
    ours = APGD(eps, steps, loss=PACKAGE[name])
    works: dict[str, Callable[[int], Tensor]] = {
        "geomlab": lambda seed: attacked(subject, inputs, ours, seed),
        "pyautoattack": lambda seed: theirs(subject, inputs, name, eps, steps, seed),
    }
    if name == "apgd-ce":
        works["geomlab, no stop"] = lambda seed: attacked(subject, inputs, replace(ours, stop=False), seed)
    kept: dict[str, list[Tensor]] = {one: [] for one in works}
    seconds: dict[str, list[float]] = {one: [] for one in works}
    for seed in range(seeds):
        for one, work in works.items():
            if one == "geomlab, no stop" and seed > 0:  # it is there for its seconds
                continue
            start = clock()
            images = work(seed)
            seconds[one].append(clock() - start)
            kept[one].append(right(subject, inputs, images))
    entries = {one: {"accuracy": [points(r) for r in kept[one]], "seconds": seconds[one]} for one in works}
    taken = {one: statistics.median(found) for one, found in seconds.items()}
    return {
        **entries,
        "clean accuracy": points(right(subject, inputs, inputs.images)),
        **difference(kept["geomlab"], kept["pyautoattack"]),
        **{
            f"seconds, pyautoattack over {one}": taken["pyautoattack"] / taken[one]
            for one in works
            if one != "pyautoattack"
        },
    }


def difference(ours: list[Tensor], others: list[Tensor]) -> dict[str, Any]:
    """Of which samples are still classified rightly, a tensor (n,) a seed; in points."""
    each = (torch.stack(ours) - torch.stack(others)).mean(0)
    found = {
        "geomlab minus pyautoattack": points(each),
        "standard error": 100 * float(each.std()) / math.sqrt(len(each)),
        "disagree": points(torch.stack([(a != b).double() for a, b in zip(ours, others, strict=True)])),
    }
    for name, one in (("geomlab", ours), ("pyautoattack", others)):
        pairs = [(a != b).double() for a, b in combinations(one, 2)]
        if pairs:
            found[f"disagree, {name} between seeds"] = points(torch.stack(pairs))
    return found


def attacked(subject: Subject, inputs: Batches, attack: Attack, seed: int) -> Tensor:
    """By ours, with noise of each sample's own."""
    found = []
    for at in range(0, len(inputs), BATCH):
        images, labels = inputs.images[at : at + BATCH], inputs.labels[at : at + BATCH]
        noise = [
            torch.rand((attack.restarts, *image.shape), generator=generator(seed, "attack", at + i)) * 2 - 1
            for i, image in enumerate(images)
        ]
        found.append(attack(subject, images, labels, torch.stack(noise, 1)))
    return torch.cat(found)


def theirs(subject: Subject, inputs: Batches, name: str, eps: float, steps: int, seed: int) -> Tensor:
    from pyautoattack import AutoAttack

    with put_back(inputs.images.device):
        package = AutoAttack(
            subject, attacks=[name], eps=eps, seed=derive_seed(seed, name) % 2**31, version="custom"
        )
        package.apgd.n_restarts = 1
        for one in (package.apgd, package.apgd_targeted):
            one.n_iter = steps
        found: Tensor = package.run_standard_evaluation(inputs.images, inputs.labels, batch_size=BATCH)[0]
    return found


def right(subject: Subject, inputs: Batches, images: Tensor) -> Tensor:
    """Which samples (n,) are classified rightly, 0 or 1."""
    with torch.no_grad():
        found = [
            subject(some).argmax(1) == labels
            for some, labels in zip(images.split(BATCH), inputs.labels.split(BATCH), strict=True)
        ]
    return torch.cat(found).double()


def points(share: Tensor) -> float:
    return 100 * float(share.mean())


if __name__ == "__main__":
    main()
