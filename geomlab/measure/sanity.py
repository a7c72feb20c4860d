"""Whether an attack finds what there is to find: checks against masked gradients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from geomlab import stats
from geomlab.data.attacks import Attack, Ball, Square, variants
from geomlab.data.attacks.standard import INSTALL, installed
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition
from geomlab.measure import verdicts
from geomlab.measure.affordable import flops
from geomlab.measure.base import OfAttack, dataset
from geomlab.measure.verdicts import Right, Verdict
from geomlab.results.checks import CHECKS
from geomlab.risk import sample_losses
from geomlab.rng import derive_seed, generator
from geomlab.subject import Subject

MULTIPLES = (0.5, 1.0, 2.0, 4.0)  # of the radius, between nothing and all of [0, 1]
STEPS = (0.25, 4.0)  # times the attack's
QUERIES = 1000  # of the Square attack; the standard version of AutoAttack has 5,000
FEWEST = 16  # samples below which the checks are left out: ours
GPU = 100  # times the work that is done on one instead of a few cores: ours
NOISE = ("uniform noise", "corner noise")
CONTROLS = (*NOISE, "fewer steps", "more steps", "square")


@dataclass(frozen=True)
class Sanity(OfAttack):
    """Accuracy by radius, under noise, with fewer and more steps and under a black-box attack, and four verdicts.

    Attributes:
        samples: at most, evenly spread over the condition's.
        work: floating-point operations that it may take on a CPU, by which the samples are fewer for costly networks
            and attacks; of fewer than `FEWEST` nothing is measured, and the verdicts say so.
        queries: of the black-box attack.
    """

    samples: int = 100
    work: float = inf
    queries: int = QUERIES

    name = "sanity"

    @property
    def parameters(self) -> dict[str, Any]:
        """Samples, work, and queries of the black-box attack, 0 where there is none."""
        work = self.work if self.work < inf else None
        return {"samples": self.samples, "work": work, "queries": self.queries if installed() else 0}

    def passes(self, attack: Attack) -> float:
        """Forward passes of a sample, at most; those of the condition's own inputs are not counted."""
        if variants.is_targeted(attack):
            return 0
        longer = [variants.with_steps(attack, factor) for factor in STEPS]
        runs = len(MULTIPLES) * attack.passes + sum(one.passes for one in longer if one)
        return runs + 2 + (self.queries if installed() else 0)

    def count(self, subject: Subject, condition: Condition, batches: Batches) -> int:
        """How many samples are taken, 0 where they would be too few."""
        wanted = min(self.samples, len(batches))
        if self.work == inf:
            return wanted
        limit = self.work * (GPU if subject.device.type == "cuda" else 1)
        a_sample = max(1.0, flops(subject, batches.clean)) * max(1, self.passes(attack_of(condition)))
        found = int(min(wanted, limit / a_sample))
        return found if found >= min(FEWEST, wanted) else 0

    def __call__(self, subject: Subject, condition: Condition, batches: Batches) -> xr.Dataset:
        """Measure; see `OfAttack`."""
        attack = attack_of(condition)
        if variants.ball_of(attack).eps == 0:
            return _left_out(attack, "the radius is 0")
        if variants.is_targeted(attack):
            return _left_out(attack, "the attack is content with one class only")
        n = self.count(subject, condition, batches)
        if n == 0:
            return _left_out(
                attack,
                f"{FEWEST} samples of this network would take more than {self.work:.0e} floating-point operations on "
                "a CPU; use a larger --budget, or a GPU",
            )
        rows = torch.arange(n) * len(batches) // n  # evenly spread
        found = _Samples(subject, condition, rows, batches.take(rows))
        by_multiple = _by_multiple(found, attack)
        controls = _controls(found, attack, self.queries)
        return _dataset(attack, found, by_multiple, controls)


def attack_of(condition: Condition) -> Attack:
    """The attack of an adversarial condition.

    Raises:
        TypeError: if it has none.
    """
    if not isinstance(condition.shift, Attack):
        raise TypeError(f"expected an adversarial condition, got {condition.spec}")
    return condition.shift


@dataclass(frozen=True, eq=False)
class _Samples:
    """Some of a condition's samples, and which of them are right on other images."""

    subject: Subject
    condition: Condition
    rows: Tensor
    inputs: Batches

    def right(self, images: Tensor) -> Right:
        found: Right = sample_losses(self.subject, replace(self.inputs, images=images)).correct.cpu().numpy()
        return found

    def under(self, attack: Attack) -> Right:
        """Under an attack that begins where the condition's does."""
        found = [
            attack(self.subject, images, labels, self._starts(attack, images, rows))
            for images, labels, rows in self._batches()
        ]
        return self.right(torch.cat(found))

    def _starts(self, attack: Attack, images: Tensor, rows: Tensor) -> Tensor:
        each = zip(images, rows.tolist(), strict=True)
        return torch.cat([self.condition.starts(attack, image[None], first=row) for image, row in each], 1)

    def square(self, attack: Square) -> Right:
        return self.right(torch.cat([attack(self.subject, x, y) for x, y, _ in self._batches()]))

    def noisy(self, ball: Ball, *, corners: bool) -> Right:
        """Under noise of each sample's own."""
        purpose = ("sanity", self.condition.spec, corners)
        uniform = [
            torch.rand(image.shape, generator=generator(self.condition.seed, *purpose, row)) * 2 - 1
            for image, row in zip(self.inputs.clean, self.rows.tolist(), strict=True)
        ]
        clean = self.inputs.clean
        return self.right(variants.noise(ball, clean, torch.stack(uniform).to(clean), corners=corners))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        size = self.inputs.batch_size
        sides = (self.inputs.clean, self.inputs.labels, self.rows)
        yield from zip(*(side.split(size) for side in sides), strict=True)


def _by_multiple(samples: _Samples, attack: Attack) -> dict[float, tuple[float, Right]]:
    """Multiple of the radius -> the radius, and which samples are right: 0 clean, ∞ all of [0, 1]."""
    ball = variants.ball_of(attack)
    box = variants.whole_box(ball.norm, samples.inputs.clean[0].numel())
    found = {0.0: (0.0, samples.right(samples.inputs.clean))}
    for multiple in MULTIPLES:
        if multiple == 1:
            found[1.0] = ball.eps, samples.right(samples.inputs.images)
        elif multiple * ball.eps < box:
            changed = variants.at_radius(attack, multiple)
            found[multiple] = multiple * ball.eps, samples.under(changed)
    if ball.eps < box:
        found[inf] = box, samples.under(variants.at_radius(attack, box / ball.eps))
    return found


def _controls(samples: _Samples, attack: Attack, queries: int) -> dict[str, Right]:
    """What of `CONTROLS` there is, at the attack's radius."""
    ball = variants.ball_of(attack)
    found = {
        "uniform noise": samples.noisy(ball, corners=False),
        "corner noise": samples.noisy(ball, corners=True),
    }
    for name, factor in zip(("fewer steps", "more steps"), STEPS, strict=True):
        changed = variants.with_steps(attack, factor)
        if changed is not None:
            found[name] = samples.under(changed)
    if installed():
        seed = derive_seed(samples.condition.seed, "square") % 2**31
        found["square"] = samples.square(Square(ball.eps, ball.norm, queries, seed))
    return found


def _judged(by_multiple: Mapping[float, tuple[float, Right]], controls: Mapping[str, Right]) -> list[Verdict]:
    """A verdict a check, in their order."""
    right = [one for _, one in by_multiple.values()]
    attacked, clean = by_multiple[1.0][1], right[0]
    if int(clean.sum()) < verdicts.FEWEST:
        said = f"only {int(clean.sum())} of {len(clean)} clean samples are right"
        return [Verdict("not tested", said)] * len(CHECKS)
    ladder = {
        "fewer steps": controls.get("fewer steps"),
        "the attack": attacked,
        "more steps": controls.get("more steps"),
    }
    steps = {name: one for name, one in ladder.items() if one is not None}
    return [
        verdicts.falls(right),
        verdicts.stronger_than_noise({name: controls[name] for name in NOISE}, attacked),
        verdicts.not_weaker(list(steps.values()), list(steps))
        if len(steps) > 1
        else Verdict("not tested", "the attack has no number of steps to change"),
        verdicts.not_weaker([controls["square"], attacked], ["the Square attack", "the attack"])
        if "square" in controls
        else Verdict("not tested", f"the Square attack is of the package pyautoattack; {INSTALL}"),
    ]


def _dataset(
    attack: Attack,
    samples: _Samples,
    by_multiple: Mapping[float, tuple[float, Right]],
    controls: Mapping[str, Right],
) -> xr.Dataset:
    n = len(samples.rows)
    nothing = np.zeros(0, dtype=np.bool_)
    values = {
        "eps": ("multiple", [eps for eps, _ in by_multiple.values()]),
        **_accuracies("accuracy", "multiple", [right for _, right in by_multiple.values()]),
        **_accuracies("control_accuracy", "control", [controls.get(name, nothing) for name in CONTROLS]),
        "correct": (("multiple", "sample"), np.array([r for _, r in by_multiple.values()], dtype=np.int8)),
        "row": ("sample", samples.rows.numpy()),
        "n": n,
    }
    coords = {"multiple": list(by_multiple), "sample": np.arange(n)}
    return _with_verdicts(attack, _judged(by_multiple, controls), values, coords)


def _left_out(attack: Attack, why: str) -> xr.Dataset:
    """A cell that says why there are no numbers."""
    return _with_verdicts(attack, [Verdict("not tested", why)] * len(CHECKS), {"n": 0}, {})


def _with_verdicts(
    attack: Attack, found: Sequence[Verdict], values: Mapping[str, Any], coords: Mapping[str, Any]
) -> xr.Dataset:
    failed = [
        f"fails: {what} ({one.said}); gradients may be masked, and accuracy under this attack then says little"
        for what, one in zip(CHECKS.values(), found, strict=True)
        if one.word == "fails"
    ]
    checks = {
        "verdict": ("check", [one.word for one in found]),
        "said": ("check", [one.said for one in found]),
        "p": ("check", [one.p for one in found]),
        "norm": variants.ball_of(attack).norm,
    }
    names = {"check": list(CHECKS), "control": list(CONTROLS)}
    return dataset({**values, **checks}, {**coords, **names}, failed)


def _accuracies(name: str, dim: str, right: Sequence[Right]) -> dict[str, Any]:
    """Accuracy and its Wilson interval, NaN of no samples."""
    rows = [
        (one.mean(), *stats.wilson(int(one.sum()), len(one))) if len(one) else (nan,) * 3 for one in right
    ]
    ends = ("", "_low", "_high")
    return {
        f"{name}{end}": (dim, list(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)
    }
