"""APGD-CE and APGD-T beside pyautoattack's: robust accuracy and seconds, the same images, radius, steps and batches.

python benchmarks/attacks.py [--cases ft,zero-shot,resnet20] [--images 500] [--steps 100] [--seeds 3]
    [--threads 1] [--out benchmarks/results/attacks.json]

One random start and ρ = 0.75 for both; both leave a sample once it is misclassified, the package between its targets
and geomlab within a run as well; `geomlab, no stop` does not within runs. `sanity` holds what must be so where
gradients are not masked (Carlini et al. 2019): noise is weaker than PGD, more steps never hurt, accuracy falls to 0,
a black-box attack is not stronger. Seconds are CPU seconds of the process, with the first pass over the clean images.
Finished pieces are written at once and not done again; delete the file to begin anew.
"""

import argparse
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from side_by_side import cases
from side_by_side.meter import clock
from side_by_side.report import Report
from torch import Tensor

import geomlab
from geomlab.data.attacks import APGD, PGD, Attack
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
    "resnet20": (0.5, 1.0),
    "zero-shot": (2.0, 4.0),
    "ft": (2.0, 4.0),
}  # /255: neither 0 nor all are left
PACKAGE = {"apgd-ce": "ce", "apgd-t": "dlr-t"}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default="ft,zero-shot,resnet20")
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--seeds", type=int, default=3, help="of apgd-ce; apgd-t and sanity have one")
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
        for radius in RADII[name]:
            for attack in PACKAGE:
                seeds = args.seeds if attack == "apgd-ce" else 1
                report.add(
                    ("cases", name, f"{attack}, {radius:g}/255"),
                    lambda subject=subject, inputs=inputs, attack=attack, radius=radius, seeds=seeds: beside(
                        subject, inputs, attack, eps=radius / 255, steps=args.steps, seeds=seeds
                    ),
                )
        report.add(
            ("cases", name, "sanity"),
            lambda subject=subject, inputs=inputs, eps=RADII[name][0] / 255: sanity(subject, inputs, eps),
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
    """Robust accuracy in points of each seed, seconds, and what ours takes of the package's."""
    ours = APGD(eps, steps, loss=PACKAGE[name])
    works: dict[str, Callable[[int], Tensor]] = {
        "geomlab": lambda seed: attacked(subject, inputs, ours, seed),
        "pyautoattack": lambda seed: theirs(subject, inputs, name, eps, steps, seed),
    }
    if name == "apgd-ce":
        works["geomlab, no stop"] = lambda seed: attacked(subject, inputs, replace(ours, stop=False), seed)
    found: dict[str, Any] = {one: {"accuracy": [], "seconds": []} for one in works}
    for seed in range(seeds):
        for one, work in works.items():
            start = clock()
            images = work(seed)
            found[one]["seconds"].append(clock() - start)
            found[one]["accuracy"].append(accuracy(subject, inputs, images))
    mean = {one: statistics.mean(entry["accuracy"]) for one, entry in found.items()}
    taken = {one: statistics.median(entry["seconds"]) for one, entry in found.items()}
    found["clean accuracy"] = accuracy(subject, inputs, inputs.images)
    found["geomlab minus pyautoattack, points"] = mean["geomlab"] - mean["pyautoattack"]
    found["seconds, pyautoattack over geomlab"] = taken["pyautoattack"] / taken["geomlab"]
    if "geomlab, no stop" in taken:
        found["seconds, pyautoattack over geomlab, no stop"] = (
            taken["pyautoattack"] / taken["geomlab, no stop"]
        )
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


def sanity(subject: Subject, inputs: Batches, eps: float) -> dict[str, Any]:
    """Accuracy, in points, under what must be weaker and stronger; 100 images under the black box."""
    few = inputs.take(torch.arange(min(100, len(inputs))))

    def under(attack: Attack) -> float:
        return accuracy(subject, inputs, attacked(subject, inputs, attack, 0))

    noise = torch.rand(inputs.images.shape, generator=generator(0, "noise")) * 2 - 1
    pgd = PGD(eps, step=eps / 4, keep="best", stop=True)
    return {
        "eps": eps * 255,
        "clean": accuracy(subject, inputs, inputs.images),
        "noise of the radius": accuracy(subject, inputs, (inputs.images + eps * noise.sign()).clamp(0, 1)),
        "pgd, by steps": {str(steps): under(replace(pgd, steps=steps)) for steps in (1, 5, 10, 20, 50)},
        "pgd-20, by radius/255": {
            f"{radius:g}": under(PGD(radius / 255, 20, stop=True)) for radius in (0, 0.5, 1, 2, 4, 8, 16, 32)
        },
        "100 images": {
            "square, 1000 queries": accuracy(subject, few, square(subject, few, eps)),
            "apgd-ce": accuracy(subject, few, attacked(subject, few, APGD(eps), 0)),
        },
    }


def square(subject: Subject, inputs: Batches, eps: float) -> Tensor:
    from pyautoattack import AutoAttack

    with put_back(inputs.images.device):
        package = AutoAttack(subject, attacks=["square"], eps=eps, seed=0, version="custom")
        package.square.n_queries = 1000
        found: Tensor = package.run_standard_evaluation(inputs.images, inputs.labels, batch_size=BATCH)[0]
    return found


def accuracy(subject: Subject, inputs: Batches, images: Tensor) -> float:
    """In points."""
    with torch.no_grad():
        right = [
            subject(some).argmax(1) == labels
            for some, labels in zip(images.split(BATCH), inputs.labels.split(BATCH), strict=True)
        ]
    return 100 * float(torch.cat(right).double().mean())


if __name__ == "__main__":
    main()
