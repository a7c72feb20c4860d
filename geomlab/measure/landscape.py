"""A filter-normalised line and plane of the loss."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.landscape import directions
from geomlab.landscape.slices import evaluate
from geomlab.measure.base import Measurement, dataset
from geomlab.risk import HELD_FIXED
from geomlab.rng import generator as named_generator
from geomlab.subject import Subject


@dataclass(frozen=True)
class Landscape(Measurement):
    """Loss and accuracy along one random direction and on the plane of two.

    The directions are drawn from `seed` alone: the same for every condition, and, before each network's own
    filter norms are applied, for every checkpoint of one architecture.

    Attributes:
        subspace: of the parameters: full, visual, lora or a regular expression.
        radius: the slices span [−radius, radius] in units of the filter-normalised directions; ½ is ours: at 1,
            the step is about as long as the weights themselves, far outside the basin.
        line_points: points of the line, odd, so that the centre is one of them.
        plane_points: points a side of the plane, odd.
        seed: of the directions.
    """

    subspace: str = "full"
    radius: float = 0.5
    line_points: int = 41
    plane_points: int = 21
    seed: int = 0

    name = "landscape"

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes."""
        return asdict(self)

    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`. Randomness comes from the attribute `seed`."""
        chosen = {name: subject.weights[name] for name in params.select(subject.weights, self.subspace)}
        pair = [
            directions.filter_normalised(chosen, named_generator(self.seed, "direction", axis))
            for axis in (0, 1)
        ]
        steps = torch.linspace(-self.radius, self.radius, self.line_points, dtype=torch.float64)
        side = torch.linspace(-self.radius, self.radius, self.plane_points, dtype=torch.float64)
        line = evaluate(subject, batches, pair[:1], steps[:, None])
        plane = evaluate(subject, batches, pair, torch.cartesian_prod(side, side))
        shape = (self.plane_points, self.plane_points)
        lengths = np.array([directions.norm(direction) for direction in pair])
        size = directions.norm(chosen)
        values = {
            "line_loss": ("step", line.loss.numpy()),
            "line_loss_stderr": ("step", line.stderr.numpy()),
            "line_accuracy": ("step", line.accuracy.numpy()),
            "plane_loss": (("alpha", "beta"), plane.loss.reshape(shape).numpy()),
            "plane_accuracy": (("alpha", "beta"), plane.accuracy.reshape(shape).numpy()),
            "direction_norm": ("axis", lengths),
            "relative_norm": ("axis", lengths / (size or np.nan)),
            "direction": directions.FILTER_NORMALISED,
            "params": self.subspace,
            "inputs": f"inputs realised at the centre and {HELD_FIXED}",
            "n": len(batches),
        }
        coords = {"step": steps.numpy(), "alpha": side.numpy(), "beta": side.numpy(), "axis": [0, 1]}
        bad = int((~torch.isfinite(torch.cat([line.loss, plane.loss]))).sum())
        warnings = [f"{bad} points of the landscape have a loss that is not finite"] if bad else []
        if not lengths.any():
            warnings.append(
                f"--params '{self.subspace}' selects no matrix that is not zero, and only matrices move, by their own "
                "norm: the slice is flat by construction"
            )
        return dataset(values, coords, warnings)
