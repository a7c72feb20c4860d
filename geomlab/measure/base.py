"""What a measurement is."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import xarray as xr
from numpy.typing import NDArray

from geomlab.data.attacks import Attack
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition
from geomlab.subject import Subject

Realise = Callable[[Subject], Batches]


class Measurement(ABC):
    """Parameters of a measure; calling it measures. Holds no state."""

    name: ClassVar[str]
    revision: ClassVar[int] = 1  # raised when the code gives other numbers: old cells are then measured anew

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """JSON-able parameters that the numbers depend on."""

    def check(self, subject: Subject, clean: Batches) -> None:
        """Look whether it can be made of the networks and inputs at hand, before anything is computed.

        Args:
            subject: the network.
            clean: the clean inputs of the study.

        Raises:
            UserError: if not.
        """
        del subject, clean


class Single(Measurement):
    """A measurement of one condition at a time."""

    @abstractmethod
    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure.

        Args:
            subject: the network.
            batches: the inputs of one condition.
            generator: randomness of this measurement.
        """


class OfAttack(Measurement):
    """A measurement of an attack, which it makes in other ways too: of adversarial conditions only."""

    @abstractmethod
    def passes(self, attack: Attack) -> float:
        """Forward passes of a sample that it takes as long as, at most.

        Args:
            attack: of the condition.
        """

    @abstractmethod
    def count(self, subject: Subject, condition: Condition, batches: Batches) -> int:
        """How many of the samples are taken.

        Args:
            subject: the network.
            condition: an adversarial one.
            batches: inputs of its size.
        """

    @abstractmethod
    def __call__(self, subject: Subject, condition: Condition, batches: Batches) -> xr.Dataset:
        """Measure.

        Args:
            subject: the network.
            condition: an adversarial one.
            batches: what it gives.
        """


@runtime_checkable
class Tiles(Protocol):
    """Where parts of a long measurement are put as they come, and found again by one that was interrupted."""

    def read(self, condition: str, number: int) -> dict[str, NDArray[Any]] | None:
        """A part that is there, or None."""

    def write(self, condition: str, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a part."""


class Joint(Measurement):
    """A measurement of several conditions at once, which share its work.

    No number depends on the others, but where they choose together at which points all are measured.
    """

    @abstractmethod
    def together(
        self,
        subject: Subject,
        inputs: Mapping[str, Batches],
        clean: Batches,
        tiles: Tiles,
        attacks: Mapping[str, Realise] = MappingProxyType({}),
    ) -> dict[str, xr.Dataset]:
        """Measure, deterministically.

        Args:
            subject: the network.
            inputs: condition -> its inputs.
            clean: the clean inputs of the study.
            tiles: keeps parts.
            attacks: condition -> what attacks its samples anew, at a network elsewhere in weight space.
        """


class Derived(Measurement):
    """A measurement of nothing but other cells of its study: what needs several measurements, or several conditions.

    Attributes:
        sources: names of the measurements whose cells it is given, those of them that the study has.
    """

    sources: ClassVar[tuple[str, ...]]

    @abstractmethod
    def __call__(self, cells: Mapping[str, Mapping[str, xr.Dataset]]) -> xr.Dataset:
        """Derive.

        Args:
            cells: measurement -> condition -> its cell, conditions in the order of the study; "" is the name of none.
        """


def dataset(
    values: Mapping[str, Any],
    coords: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> xr.Dataset:
    """A Dataset of scalars and `(dims, array)` pairs, with the measurement's warnings."""
    return xr.Dataset({**values, "warnings": json.dumps(list(warnings))}, coords=dict(coords))


def warned(found: xr.Dataset, *warnings: str) -> xr.Dataset:
    """A measurement's Dataset with some more warnings, before its own."""
    own = json.loads(str(found["warnings"].item()))
    return found.assign(warnings=json.dumps([*warnings, *own]))
