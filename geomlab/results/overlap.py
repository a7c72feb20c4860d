"""How much the top eigenspaces of different inputs and checkpoints have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from geomlab.stats import Array, principal_cosines


@dataclass(frozen=True)
class Place:
    """Where an eigenspace was measured.

    Attributes:
        checkpoint: its name.
        condition: its name.
    """

    checkpoint: str
    condition: str


@dataclass(frozen=True, eq=False)
class Overlap:
    """Two top eigenspaces of the same parameters.

    Attributes:
        places: of the two.
        cosines: (k,) of their principal angles, descending.
        halves: for each, what two halves of its own samples share: more can hardly be expected.
        chance: what random spaces would share.
    """

    places: tuple[Place, Place]
    cosines: Array
    halves: tuple[float, float]
    chance: float

    @property
    def shared(self) -> float:
        """Mean squared cosine: 1 for the same space, 0 for orthogonal ones."""
        return float((self.cosines**2).mean())


def overlaps(curvature: xr.Dataset) -> Iterator[Overlap]:
    """All pairs of eigenspaces of the same parameters and as many vectors.

    Args:
        curvature: the measurement, of dimensions checkpoint and condition.
    """
    if "eigenvector_sketch" not in curvature:
        return
    found = {}
    for checkpoint in map(str, curvature["checkpoint"].values):
        for condition in map(str, curvature["condition"].values):
            one = curvature.sel(checkpoint=checkpoint, condition=condition)
            if np.isfinite(one["eigenvector_sketch"]).any():
                found[Place(checkpoint, condition)] = one
    for a, b in combinations(found, 2):
        if _parameters(found[a]) == _parameters(found[b]):
            spaces = [_space(found[place]) for place in (a, b)]
            if spaces[0].shape == spaces[1].shape:
                halves = (float(found[a]["halves_overlap"]), float(found[b]["halves_overlap"]))
                chance = spaces[0].shape[1] / float(found[a]["dim"])
                yield Overlap((a, b), principal_cosines(*spaces), halves, chance)


def _parameters(one: xr.Dataset) -> tuple[tuple[str, float], ...]:
    """The matrix, and layers and their sizes: what its vectors are of, and what their entries stand for."""
    matrix = str(one["matrix"].item())
    sizes = one["layer_dim"].dropna("layer")
    return ((matrix, 0.0), *zip(map(str, sizes["layer"].values), map(float, sizes.values), strict=True))


def _space(one: xr.Dataset) -> Array:
    sketch = one["eigenvector_sketch"].transpose("place", "eigen")
    return np.asarray(sketch.dropna("place", how="all").dropna("eigen", how="all").values, dtype=np.float64)
