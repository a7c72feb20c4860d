"""How far the parameters moved from the reference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.landscape.directions import norm
from geomlab.measure.base import Single, dataset
from geomlab.subject import Subject

NO_TWIN = "have no twin in the reference"


@dataclass(frozen=True, eq=False)
class Drift(Single):
    """‖θ−θ₀‖ and ‖θ−θ₀‖/‖θ₀‖, whole and a layer. The inputs are not used.

    Attributes:
        reference: the network at θ₀.
        subspace: of the parameters: full, visual, lora or a regular expression.
    """

    reference: Subject
    subspace: str = "full"

    name = "drift"

    @property
    def parameters(self) -> dict[str, Any]:
        """The subspace; the reference is part of the cell's key."""
        return {"subspace": self.subspace}

    def __call__(self, subject: Subject, batches: Batches | None, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`. Parameters that one of the two lacks are left out, with a warning."""
        here, there = subject.weights, self.reference.weights
        chosen = params.select(here, self.subspace)
        shared = [name for name in chosen if name in there and there[name].shape == here[name].shape]
        layers = params.by_layer(shared)
        moved = [
            norm({n: here[n].double() - there[n].double() for n in members}) for members in layers.values()
        ]
        size = [norm({n: there[n] for n in members}) for members in layers.values()]
        total, whole = float(np.linalg.norm(moved)), float(np.linalg.norm(size))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.array(moved) / np.array(size)  # a layer that was all zeros has no relative drift
        values = {
            "relative": total / whole if whole else float("nan"),
            "absolute": total,
            "layer_relative": ("layer", relative),
            "layer_absolute": ("layer", np.array(moved)),
        }
        lost = len(chosen) - len(shared)
        warnings = [f"{lost} of {len(chosen)} parameters {NO_TWIN}"] if lost else []
        zero = [layer for layer, length in zip(layers, size, strict=True) if not length]
        if zero:
            warnings.append(f"relative drift not defined where the reference is zero: {', '.join(zero[:5])}")
        return dataset(values, {"layer": list(layers)}, warnings)
