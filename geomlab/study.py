"""A study of one checkpoint: conditions × measurements, of which the missing cells are run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf
from typing import Any

import xarray as xr
from torch import Tensor

from geomlab.data.attacks import Attack, ascend
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition
from geomlab.errors import UserError
from geomlab.features.extraction import Pooled
from geomlab.measure import (
    Curvature,
    Derived,
    Drift,
    FeatureGeometry,
    Joint,
    Landscape,
    Measurement,
    OfAttack,
    Paths,
    Single,
)
from geomlab.measure.base import warned
from geomlab.measure.features import shared_layers
from geomlab.measure.forecast import Forecast, check_memory, forecast, too_large
from geomlab.measure.trial import try_derivatives
from geomlab.progress import Bar
from geomlab.realised import HELD, BatchLimit, Realised
from geomlab.results import CellKey, Store, TileFolder
from geomlab.risk import check_apart, check_finite, sample_losses
from geomlab.rng import generator
from geomlab.subject import Subject


@dataclass(frozen=True, eq=False)
class Cell:
    """One planned cell.

    Attributes:
        key: of the store.
        condition: of its inputs, None of the parameters alone.
        measurement: what is measured.
        times: how many times as long as the measurement's forecast it takes.
    """

    key: CellKey
    condition: Condition | None
    measurement: Measurement
    times: float = 1

    @property
    def where(self) -> str:
        """Name of the condition."""
        return self.condition.name if self.condition else "parameters"


@dataclass(frozen=True, eq=False)
class Study:
    """What is measured of a network, and under which conditions.

    Attributes:
        subject: the network.
        reference: digest of the network it is compared with, or None.
        conditions: the inputs, of one source and one choice of samples.
        measurements: what is measured under each.
        seed: of everything random.
        kept: where results are that are not computed again, or None.
        limit: of a batch, which falls where memory runs out.
        most: samples that curvature, landscape and paths take, at most.
    """

    subject: Subject
    reference: str | None
    conditions: tuple[Condition, ...]
    measurements: tuple[Measurement, ...]
    seed: int
    kept: Store | None = None
    limit: BatchLimit = field(default_factory=BatchLimit)
    most: float = inf

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The whole plan, condition by condition; see `plan`."""
        return self.plan[0]

    @cached_property
    def plan(self) -> tuple[tuple[Cell, ...], Mapping[str, Forecast]]:
        """All cells, and what a cell of each measurement that is missing will take.

        The inputs are looked at once: a cell's key holds their digest.

        Raises:
            UserError: if images, labels, losses, layers or derivatives cannot be used, or memory would not suffice.
        """
        planned = [self._cell(None, one, {}) for one in self.measurements if isinstance(one, Drift)]
        each = [one for one in self.measurements if not isinstance(one, Drift | Derived)]
        inputs = Realised(self.subject, self.limit)
        from_clean = ("clean", "adversarial")  # an attack is made when it is needed
        if any(condition.kind in from_clean for condition in self.conditions):
            self._look_at(inputs.clean(self.conditions[0]), "clean")
        for condition in self.conditions:
            if condition.kind not in from_clean:
                self._look_at(inputs(condition), condition.name)
            taken = [
                (one, self._few(one, condition))
                for one in each
                if condition.kind == "adversarial" or not isinstance(one, OfAttack)
            ]
            planned += [
                replace(self._cell(some, one, inputs.digests(some)), times=self._times(one, some, inputs))
                for one, some in taken
            ]
        planned += [self._derived(one, planned) for one in self.measurements if isinstance(one, Derived)]
        clean = inputs.clean(self.conditions[0])
        self._try_on(clean.images[:2])
        keys = [cell.key for cell in planned]
        missing = {key.measurement for key in (self.kept.missing(keys) if self.kept else keys)}
        each = [one for one in each if one.name in missing]
        for one in each:
            one.check(self.subject, clean)
            try_derivatives(one, self.subject, clean)
        forecasts = self._forecast([(one, self._few(one, self.conditions[0])) for one in each], inputs)
        return tuple(planned), forecasts

    def _few(self, measurement: Measurement, condition: Condition) -> Condition:
        """A condition with as many samples as a measurement takes."""
        if not isinstance(measurement, Curvature | Landscape | Paths) or condition.n <= self.most:
            return condition
        return replace(condition, n=int(self.most))

    def _times(self, measurement: Measurement, condition: Condition, inputs: Realised) -> float:
        """See `Cell`."""
        attack = condition.shift if isinstance(condition.shift, Attack) else None
        if isinstance(measurement, OfAttack) and attack is not None:
            taken = measurement.count(self.subject, condition, inputs.clean(condition))
            return taken * measurement.passes(attack)
        passes = 1.0
        if isinstance(measurement, Landscape | Paths):
            if measurement.attack == "anew" and attack is not None:
                passes += attack.passes
            if measurement.batchnorm == "anew":
                passes += 1  # for the statistics, at most: conditions that are measured together share them
        return passes

    def _forecast(
        self, taken: Sequence[tuple[Measurement, Condition]], inputs: Realised
    ) -> dict[str, Forecast]:
        """What a cell of each measurement takes, in batches that fall until memory suffices.

        Raises:
            UserError: if it would not even with single samples.
        """
        while True:
            found = {one.name: forecast(one, self.subject, inputs.clean(some)) for one, some in taken}
            large = [some for one, some in taken if too_large(found[one.name], one, self.subject)]
            if not large or not self.limit.fall(_largest(large)):
                break
        for one in found.values():
            check_memory(one, self.subject)
        return found

    def check(self) -> None:
        """Look at all that may be wrong with the input before anything is computed or overwritten.

        Raises:
            UserError: as `cells`, or if memory does not suffice.
        """
        self._within(lambda: self.plan, self.conditions, f"{self.subject.name}, looking at the inputs")

    def remaining(self, store: Store) -> tuple[float, float]:
        """Seconds that the cells missing in a store usually take, and at most; of what `forecast` knows."""
        missing = {key.file for key in store.missing([cell.key for cell in self.cells])}
        found = [
            (self.plan[1][cell.measurement.name], cell)
            for cell in self.cells
            if cell.key.file in missing and cell.measurement.name in self.plan[1]
        ]
        once = sum({cell.measurement.name: one.once for one, cell in found}.values())
        usual = sum(one.usual * cell.times for one, cell in found)
        return once + usual, once + sum(one.most * cell.times for one, cell in found)

    def _look_at(self, batches: Batches, where: str) -> None:
        check_finite(sample_losses(self.subject, batches), self.subject, where)

    def _try_on(self, images: Tensor) -> None:
        """Take the layers and the gradient of two images: what a measure would stumble over is said now."""
        check_apart(self.subject, images)
        for measurement in self.measurements:
            if isinstance(measurement, FeatureGeometry):
                layers = self.subject.layers(measurement.layers)
                Pooled.of(self.subject, images, layers, measurement.pooling)
                if measurement.reference is not None:
                    measurement.reference.outputs(images)
                    check_apart(measurement.reference, images)
                    shared = shared_layers(measurement.reference, layers)
                    Pooled.of(measurement.reference, images, shared, measurement.pooling)
        attacks = [one.shift for one in self.conditions if isinstance(one.shift, Attack)]
        if attacks:
            try:
                ascend(lambda x: self.subject(x).sum(1), images, images, eps=0, step=0, steps=1)
                for attack in attacks:
                    attack.require(self.subject.outputs(images))
            except UserError as error:
                raise UserError(f"{self.subject.name}: {error}") from error

    def run(self, store: Store, bar: Bar) -> None:
        """Compute and store the cells that are missing."""
        missing = {key.file for key in store.missing([cell.key for cell in self.cells])}
        inputs = Realised(self.subject, self.limit)
        for cell in self.cells:
            if cell.key.file in missing:
                some = self._with(cell, missing, inputs)
                where = ", ".join(one.where for one in some)
                bar.step(f"{self.subject.name} · {where} · {cell.measurement.name}")
                conditions = [one.condition for one in some if one.condition] or self.conditions
                work = partial(self._measure, some, inputs, store)
                self._within(work, conditions, f"{where}, {cell.measurement.name}")
                missing -= {one.key.file for one in some}
            bar.advance()

    def _within(self, work: Callable[[], object], conditions: Sequence[Condition], where: str) -> None:
        """Do something with conditions' inputs within the memory there is, in smaller batches where it has to be."""
        self.limit.within(work, self.subject, largest=_largest(conditions), where=where)

    def _write(self, store: Store, cell: Cell, found: xr.Dataset, batches: Batches) -> None:
        """Store a cell, with what there is to say of how its inputs were read and taken."""
        if cell.condition is None:
            store.write(cell.key, found)
            return
        said = (self._chosen(cell.condition), self.limit.said(min(cell.condition.batch_size, len(batches))))
        store.write(cell.key, warned(found, *batches.warnings, *(sentence for sentence in said if sentence)))

    def _chosen(self, condition: Condition) -> str | None:
        """A sentence on samples that were not taken, None where all were."""
        whole = next(one for one in self.conditions if one.name == condition.name)
        if condition.n == whole.n:
            return None
        return (
            f"of {condition.n} samples, where other measures take up to {whole.n}: a forward pass over more is beyond "
            "the budget's work, which leaves fewer probes, products and points too; --samples N takes N and all of them"
        )

    def _with(self, first: Cell, missing: set[str], inputs: Realised) -> list[Cell]:
        """A cell, and those that are measured with it: of a joint measurement, as many as may hold their inputs."""
        if not isinstance(first.measurement, Joint):
            return [first]
        same = [c for c in self.cells if c.measurement is first.measurement and c.key.file in missing]
        return same[: max(1, HELD // self._clean_of(first, inputs).images.nbytes)]

    def _clean_of(self, cell: Cell, inputs: Realised) -> Batches:
        """The clean inputs that a cell starts from."""
        return inputs.clean(cell.condition or self.conditions[0])

    def _measure(self, cells: list[Cell], inputs: Realised, store: Store) -> None:
        """Measure and store cells of one measurement, a single one where it is not joint."""
        measurement, clean = cells[0].measurement, self._clean_of(cells[0], inputs)
        if isinstance(measurement, Joint):
            named = {cell.where: cell for cell in cells}
            realised = {cell.where: self._inputs_of(cell, inputs) for cell in cells}
            attacks = {
                cell.where: partial(inputs.limited(cell.condition).realise, clean=clean)
                for cell in cells
                if cell.condition and cell.condition.kind == "adversarial"
            }
            tiles = TileFolder(store, {name: cell.key for name, cell in named.items()})
            made = measurement.together(self.subject, realised, clean, tiles, attacks)
            for name, found in made.items():
                self._write(store, named[name], found, realised[name])
            tiles.clear()
        elif isinstance(measurement, Single):
            (cell,) = cells
            rng = generator(self.seed, measurement.name, cell.condition.spec if cell.condition else "")
            batches = self._inputs_of(cell, inputs) if cell.condition else clean
            self._write(store, cell, measurement(self.subject, batches, rng), batches)
        elif isinstance(measurement, OfAttack):
            (cell,) = cells
            assert cell.condition is not None
            batches = self._inputs_of(cell, inputs)
            self._write(store, cell, measurement(self.subject, cell.condition, batches), batches)
        elif isinstance(measurement, Derived):
            (cell,) = cells
            given: dict[str, dict[str, xr.Dataset]] = {}
            for source in _sources(measurement, self.cells):
                where = source.condition.name if source.condition else ""
                given.setdefault(source.measurement.name, {})[where] = store.read(source.key.file)
            store.write(cell.key, measurement(given))

    def _inputs_of(self, cell: Cell, inputs: Realised) -> Batches:
        """The inputs of a cell that has a condition, which must be those that its key names."""
        condition = cell.condition or self.conditions[0]
        batches = inputs(condition)
        if not inputs.digests(condition).items() <= (cell.key.condition or {}).items():
            raise UserError(
                f"{condition.source.spec}: gave other images when {condition.name} was read again; leave the "
                "data alone while they are measured, and take random augmentation out of them"
            )
        return batches

    def _derived(self, measurement: Derived, planned: Sequence[Cell]) -> Cell:
        """Its key names the cells it is derived from, so that it changes when one of them does, or one is added."""
        return self._cell(None, measurement, {}, [one.key.file for one in _sources(measurement, planned)])

    def _cell(
        self,
        condition: Condition | None,
        measurement: Measurement,
        digests: dict[str, str | None],
        sources: Sequence[str] = (),
    ) -> Cell:
        inputs = None
        if condition is not None:
            inputs = {
                "spec": condition.spec,
                "source": condition.source.spec,
                "n": condition.n,
                "seed": condition.seed,
                **digests,
            }
        parameters = {**measurement.parameters, **({"cells": list(sources)} if sources else {})}
        key = CellKey(
            measurement=measurement.name,
            parameters=json.loads(json.dumps(parameters)),
            checkpoint=self.subject.digest,
            reference=self.reference,
            condition=inputs,
            seed=self.seed,
            dtype=str(self.subject.dtype).removeprefix("torch."),
            device=self.subject.device.type,
            revision=measurement.revision,
        )
        return Cell(key, condition, measurement)

    def describe(self) -> dict[str, Any]:
        """The part of `study.json` that says what the cells are."""
        return {
            "conditions": [{"name": c.name, "spec": c.spec, "kind": c.kind} for c in self.conditions],
            "measurements": [{"name": m.name, "parameters": dict(m.parameters)} for m in self.measurements],
            "cells": [
                {
                    "file": cell.key.file,
                    "measurement": cell.measurement.name,
                    "condition": cell.condition.name if cell.condition else None,
                }
                for cell in self.cells
            ],
        }


def _largest(conditions: Sequence[Condition]) -> int:
    """Samples of a batch where memory suffices."""
    return max(min(condition.batch_size, condition.n) for condition in conditions)


def _sources(measurement: Derived, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a measurement is derived from."""
    return [cell for cell in cells if cell.measurement.name in measurement.sources]
