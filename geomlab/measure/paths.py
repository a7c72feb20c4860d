"""The loss along paths from the reference to the network, under all conditions at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from geomlab import params
from geomlab.batchnorm import Renew, renewal, statistics_of
from geomlab.data.batches import Batches
from geomlab.errors import NotFinite, UserError
from geomlab.features.extraction import Pooled, extract
from geomlab.landscape import paths
from geomlab.landscape.numbers import Number, barrier, not_below_zero, with_interval
from geomlab.landscape.paths import Path
from geomlab.landscape.slices import Slice, at_each
from geomlab.measure.base import Joint, Realise, Tiles, dataset
from geomlab.measure.features import MIN_SAMPLES, UNDEFINED, cka_with_error
from geomlab.measure.tiled import TILE, Tiled
from geomlab.risk import HELD_FIXED, RECOMPUTED
from geomlab.rng import generator
from geomlab.spec import flag, integer, parse
from geomlab.stats import Array
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Images

ENDS = {"start": 0.0, "end": 1.0}
TRAINING = (
    "training_loss_before",
    "training_loss_after",
    "training_barrier",
    "training_barrier_low",
    "training_barrier_high",
    "steps_left_out",
)
GRADIENT = 3  # forward passes that a gradient takes as long as
STATISTICS = {"fixed": "interpolated between the ends", "anew": "taken anew on clean inputs at each point"}
KNOWN = ("linear", f"piecewise[:bends=1,steps={paths.STEPS}]", f"bezier[:steps={paths.STEPS}]")


@dataclass(frozen=True)
class Wanted:
    """A path that is asked for.

    Attributes:
        label: its SPEC without `cka`, by which results call it.
        kind: of `landscape.paths.KINDS`.
        bends: inner points.
        steps: of training.
        cka: whether features are compared along it.
    """

    label: str
    kind: str
    bends: int
    steps: int
    cka: bool


def parsed(text: str) -> Wanted:
    """What a SPEC asks for.

    Raises:
        UserError: if there is no such path.
    """
    spec = parse(text)
    options = {"linear": (), "piecewise": ("bends", "steps"), "bezier": ("steps",)}
    if spec.head not in options or spec.positional:
        raise UserError(f"no path '{text}'; there are {', '.join(KNOWN)}, each with cka=yes")
    spec.only(*options[spec.head], "cka")
    said = ",".join(f"{key}={value}" for key, value in spec.options if key != "cka")
    line = spec.head == "linear"
    return Wanted(
        f"{spec.head}:{said}" if said else spec.head,
        spec.head,
        0 if line else integer(spec, "bends", 1),
        0 if line else integer(spec, "steps", paths.STEPS),
        flag(spec, "cka"),
    )


@dataclass(frozen=True, eq=False)
class Along:
    """A path as it was measured.

    Attributes:
        wanted: what was asked for.
        path: with its inner points where training left them.
        training: what is known of the samples it was trained on, `TRAINING` -> number; NaN where it was not.
    """

    wanted: Wanted
    path: Path
    training: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Paths(Joint):
    """Loss and accuracy along paths from the reference, t = 0, to the network, t = 1, and how high they rise.

    Curves are trained on clean inputs, once for all conditions. Samples are soon learnt by heart: on those that it was
    trained on a curve has no barrier, whatever others see (`landscape.paths.trained`). So where a path is trained, a
    random half of the samples is what all are trained on, and the other half what every path is measured on: the same
    rows under every condition, so that conditions and paths stay paired. A condition of other samples than the clean
    ones (not `paired`) has none that was trained on, and is measured on all of its own. Where no path is trained, no
    sample is held back, and the ends have the losses of the accuracy measurement.

    Attributes:
        reference: the network at t = 0.
        specs: SPECs of the paths.
        subspace: of the parameters that move: full, visual, lora or a regular expression; the others are the network's.
        attack: of `measure.landscape.ATTACKS`: adversarial inputs crafted at t = 1 and held fixed, or attacked anew at
            every point; features are compared on the former in any case.
        batchnorm: of `geomlab.batchnorm.MODES`: statistics interpolated between the ends, or taken anew at every point,
            the ends too, on the clean inputs that paths are trained on (on all where none is), as Garipov et al. 2018
            do (arXiv 1802.10026, appendix A.2). A path is trained with the former in any case.
        count: points of a path, its ends among them.
        seed: of the halves and of training.
    """

    reference: Subject
    specs: tuple[str, ...]
    subspace: str = "full"
    attack: str = "fixed"
    batchnorm: str = "fixed"
    count: int = 41
    seed: int = 0

    name = "paths"

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key; defaults of the paths filled in."""
        left = {name: value for name, value in vars(self).items() if name not in ("reference", "specs")}
        return left | {"paths": [asdict(one) for one in self.wanted]}

    @property
    def wanted(self) -> list[Wanted]:
        """The paths."""
        return [parsed(text) for text in self.specs]

    @property
    def derivatives(self) -> int:
        """The order of the derivatives that are needed: 1 if a path is trained."""
        return int(any(one.steps for one in self.wanted))

    def passes(self, n: int) -> tuple[float, float]:
        """Forward passes of all samples that training takes, once, and a condition; similarities are not counted.

        Args:
            n: number of samples.
        """
        training, each = 0.0, 0.0
        for one in self.wanted:
            if one.steps:
                training += one.steps * GRADIENT * min(paths.BATCH, n // 2) / n + self.count
            each += (1 + one.cka) * self.count / (1 + self.derivatives)
        return training, each

    def check(self, subject: Subject, clean: Batches) -> None:
        """Whether networks and samples do; see `Measurement`."""
        renewal(self.batchnorm, subject, clean)
        names = params.select(subject.weights, self.subspace)
        check_ends(self.reference, subject, names, clean.images[:2])
        halves = 1 + self.derivatives
        least = MIN_SAMPLES if any(one.cka for one in self.wanted) else 2
        if len(clean) < halves * least:
            why = ", half of which paths are trained on," if self.derivatives else ""
            raise UserError(
                f"--path: {len(clean)} clean samples{why} are too few; use --samples {halves * least} or more"
            )
        if any(one.cka for one in self.wanted):
            Pooled.of(self.reference, clean.images[:2], [])
            Pooled.of(subject, clean.images[:2], [])

    def together(
        self,
        subject: Subject,
        inputs: Mapping[str, Batches],
        clean: Batches,
        tiles: Tiles,
        attacks: Mapping[str, Realise] = MappingProxyType({}),
    ) -> dict[str, xr.Dataset]:
        """Measure; see `Joint`. Randomness comes from the attribute `seed`."""
        seen, anew = dict(inputs), dict(attacks) if self.attack == "anew" else {}
        learnt = clean
        if self.derivatives:
            rows, held = self._halves(clean)
            learnt = clean.take(rows)
            seen = {name: batches.take(held) if batches.paired else batches for name, batches in seen.items()}
            anew = {name: _some(realise, held) for name, realise in anew.items()}
        renew = renewal(self.batchnorm, subject, learnt)
        found: list[tuple[Along, dict[str, Slice], dict[str, Compared]]] = []
        a_path = 2 + ceil(self.count / TILE)  # tiles: training, features, and the losses
        for number, one in enumerate(self.wanted):
            first = a_path * number
            along = self._along(
                one, subject, learnt, renew, partial(_read_or, tiles, next(iter(inputs)), first)
            )
            tiled = Tiled(seen, tiles, _losses(along.path, anew, renew))
            losses, _ = tiled.all(self._points, first + 2)
            compared = {
                name: self._compared(along, batches, renew, partial(_read_or, tiles, name, first + 1))
                for name, batches in seen.items()
            }
            found.append((along, losses, compared))
        return {
            name: self._labelled(
                [(along, losses[name], compared[name]) for along, losses, compared in found],
                {"n": len(batches), "n_trained": len(learnt) if self.derivatives else 0},
                name in anew,
            )
            for name, batches in seen.items()
        }

    @property
    def _points(self) -> Tensor:
        return torch.linspace(0, 1, self.count, dtype=torch.float64)

    def _halves(self, clean: Batches) -> tuple[Tensor, Tensor]:
        """The rows that paths are trained on, and those that they are measured on, in order."""
        drawn = torch.randperm(len(clean), generator=generator(self.seed, "paths", "halves"))
        learnt, held = drawn.to(clean.labels.device).tensor_split([len(clean) // 2])
        return learnt.sort().values, held.sort().values

    def _along(
        self, wanted: Wanted, subject: Subject, learnt: Batches, renew: Renew, read_or: "ReadOr"
    ) -> Along:
        """The path, trained where it is to be."""
        names = params.select(subject.weights, self.subspace)
        line = paths.straight(wanted.kind, self.reference, subject, names, wanted.bends)
        if not wanted.steps:
            return Along(wanted, line, dict.fromkeys(TRAINING, np.nan))

        def train() -> dict[str, Array]:
            random = generator(self.seed, "paths", wanted.kind, wanted.bends)
            path, left_out = paths.trained(line, learnt, random, steps=wanted.steps)
            inner = [params.flatten(point).double().cpu().numpy() for point in path.inner]
            return {"inner": np.stack(inner), "numbers": self._training(line, path, learnt, renew, left_out)}

        found, like = read_or(train), line.points[0]
        vectors = torch.from_numpy(found["inner"]).to(subject.device, subject.dtype)
        path = replace(line, inner=tuple(params.unflatten(vector, like) for vector in vectors))
        return Along(wanted, path, dict(zip(TRAINING, found["numbers"].tolist(), strict=True)))

    def _training(self, line: Path, path: Path, learnt: Batches, renew: Renew, left_out: int) -> Array:
        """The numbers of `TRAINING`."""
        t = self._points.numpy()
        before, after = (_losses(one, {}, renew)({"": learnt}, self._points)[""] for one in (line, path))
        with np.errstate(invalid="ignore"):  # where losses are infinite
            means = [float(np.trapezoid(one.loss, t)) for one in (before, after)]
        high = _barrier(t, after)
        return np.array([*means, high.value, high.low, high.high, left_out])

    def _compared(self, along: Along, batches: Batches, renew: Renew, read_or: "ReadOr") -> "Compared":
        """CKA of the features at each point to those at the start and at the end; none where it is not asked for."""
        if not along.wanted.cka:
            nothing = np.full((self.count, len(ENDS)), np.nan)
            return {"value": nothing, "stderr": nothing}

        def compare() -> dict[str, Array]:
            ends = [_features(renew(along.path.at(t)), batches) for t in ENDS.values()]
            here = (_features(renew(along.path.at(t)), batches) for t in self._points.tolist())
            pairs = np.array([[_cka(features, end) for end in ends] for features in here])
            return {"value": pairs[..., 0], "stderr": pairs[..., 1]}

        return read_or(compare)

    def _labelled(
        self, found: list[tuple[Along, Slice, "Compared"]], counts: dict[str, int], anew: bool
    ) -> xr.Dataset:
        t = self._points.numpy()
        values: dict[str, Any] = {
            name: (("path", "t"), np.stack([getattr(losses, field) for _, losses, _ in found]))
            for name, field in (("loss", "loss"), ("loss_stderr", "stderr"), ("accuracy", "accuracy"))
        }
        rows = [_numbers(along, losses, t) for along, losses, _ in found]
        values |= {name: ("path", np.array([row[name] for row in rows])) for name in rows[0]}
        if any(along.wanted.cka for along, _, _ in found):
            for number, end in enumerate(ENDS):
                for suffix, part in (("", "value"), ("_stderr", "stderr")):
                    stacked = np.stack([compared[part][:, number] for _, _, compared in found])
                    values[f"cka_to_{end}{suffix}"] = (("path", "t"), stacked)
        made_at = f"attack {RECOMPUTED}" if anew else f"inputs realised at t = 1 and {HELD_FIXED}"
        values |= {
            "distance": found[0][0].path.distance,
            "params": self.subspace,
            "inputs": made_at,
            **counts,
        }
        if statistics_of(found[0][0].path.end.module):
            values["batchnorm"] = STATISTICS[self.batchnorm]
        coords = {"path": [along.wanted.label for along, _, _ in found], "t": t}
        return dataset(values, coords, _warnings(found, self.batchnorm))


Compared = Mapping[str, Array]  # value and stderr, (points, ends)
ReadOr = Callable[[Callable[[], dict[str, Array]]], dict[str, Array]]


def _read_or(
    tiles: Tiles, condition: str, number: int, make: Callable[[], dict[str, Array]]
) -> dict[str, Array]:
    """A tile that is there, or else is made and kept."""
    found = tiles.read(condition, number)
    if found is None:
        found = make()
        tiles.write(condition, number, found)
    return found


def _some(realise: Realise, rows: Tensor) -> Realise:
    """Some rows of what is realised."""
    return lambda there: realise(there).take(rows)


def _losses(
    path: Path, attacks: Mapping[str, Realise], renew: Renew
) -> Callable[[Mapping[str, Batches], Tensor], dict[str, Slice]]:
    """What takes the loss at points of a path."""
    return lambda inputs, points: at_each((path.at(t) for t in points.tolist()), inputs, attacks, renew)


def _features(network: Subject, batches: Batches) -> Features | None:
    """What feeds the last linear map; None where it is not finite."""
    try:
        return extract(network, batches, [])[FEATURES]
    except NotFinite:
        return None


def _cka(here: Features | None, end: Features | None) -> tuple[float, float]:
    if here is None or end is None:
        return UNDEFINED
    return cka_with_error(here, end)


def _barrier(t: Array, found: Slice) -> Number:
    return not_below_zero(with_interval(lambda loss: barrier(t, loss, 0, 1), found))


def _numbers(along: Along, found: Slice, t: Array) -> dict[str, float]:
    """What a path amounts to under one condition."""
    values: dict[str, float] = {}
    for name, losses in (("barrier", found), ("accuracy_barrier", found.errors)):
        high = _barrier(t, losses)
        values |= {name: high.value, f"{name}_low": high.low, f"{name}_high": high.high}
    length, distance = along.path.length, along.path.distance
    values |= {"length": length, "relative_length": length / distance if distance else np.nan}
    return values | {"steps": along.wanted.steps, **along.training}


def _warnings(found: Sequence[tuple[Along, Slice, Compared]], batchnorm: str) -> list[str]:
    path = found[0][0].path
    said = []
    if not path.distance:
        said.append(
            "both ends of the paths are the same in all parameters that move: there is no way between them"
        )
    there = path.start.buffers
    moved = [name for name, own in path.end.buffers.items() if not torch.equal(own, there[name])]
    if moved and batchnorm == "fixed":
        said.append(
            f"buffers differ between the ends of the paths ({moved[0]}, …) and are interpolated; statistics of batch "
            "normalisation taken anew at each point (--batchnorm anew) would give lower losses between the ends"
        )
    for along, losses, compared in found:
        label = along.wanted.label
        bad = int((~np.isfinite(losses.loss)).sum())
        if bad:
            said.append(f"{bad} points of the path {label} have a loss that is not finite")
        if along.training["steps_left_out"] > 0:
            left_out = f"{along.training['steps_left_out']:.0f} of {along.wanted.steps}"
            said.append(f"{left_out} training steps of the path {label} had a gradient that is not finite")
        lost = int(np.isnan(compared["value"]).any(axis=1).sum()) if along.wanted.cka else 0
        if lost:
            said.append(
                f"CKA is not defined at {lost} points of the path {label}: too few samples, or features that are "
                "constant or not finite"
            )
    return said


def check_ends(start: Subject, end: Subject, names: list[str], images: Images) -> None:
    """Look whether there are paths between two networks.

    Args:
        start: at t = 0.
        end: at t = 1.
        names: parameters that move.
        images: a few.

    Raises:
        UserError: if the first lacks parameters or buffers of the second, or computes otherwise from the same ones.
    """
    theirs = {**start.weights, **start.buffers}
    lost = params.lacking({name: end.weights[name] for name in names} | dict(end.buffers), theirs)
    if lost:
        raise UserError(f"--path: {start.name} has no {lost[0]} of the shape that it has in {end.name}")
    if params.lacking(end.weights, theirs):
        return  # among what does not move
    own, there = start.logits(images), Path("linear", start, end, list(end.weights)).at(0).logits(images)
    allowed = torch.finfo(own.dtype).eps ** 0.5 * float(own.abs().max())
    if own.shape != there.shape or float((own - there).abs().max()) > allowed:
        raise UserError(
            f"--path: {start.name} and {end.name} compute otherwise from the same parameters (other layers, or other "
            "sizes and means of images), so that no path leads from one to the other"
        )
