"""What a measurement is."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import xarray as xr

from geomlab.data.batches import Batches
from geomlab.subject import Subject


class Measurement(ABC):
    """Parameters of a measure; calling it measures. Holds no state."""

    name: ClassVar[str]
    revision: ClassVar[int] = 1  # raised when the code gives other numbers: old cells are then measured anew

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """JSON-able parameters that the numbers depend on."""

    @abstractmethod
    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure.

        Args:
            subject: the network.
            batches: the inputs of one condition.
            generator: randomness of this measurement.
        """


def dataset(
    values: Mapping[str, Any],
    coords: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> xr.Dataset:
    """A Dataset of scalars and `(dims, array)` pairs, with the measurement's warnings."""
    return xr.Dataset({**values, "warnings": json.dumps(list(warnings))}, coords=dict(coords))
