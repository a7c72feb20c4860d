"""Losses at many points, a tile at a time, so that an interrupted measurement goes on where it stopped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.landscape.slices import Slice
from geomlab.measure.base import Tiles
from geomlab.stats import Array

TILE = 64  # points that are stored at a time: ours
FIELDS = {field.name for field in fields(Slice)}


@dataclass(frozen=True, eq=False)
class Tiled:
    """What is evaluated at points, and where parts of it are kept.

    Attributes:
        inputs: condition -> its inputs.
        tiles: keeps parts.
        evaluate: gives the losses of some conditions at some points.
    """

    inputs: Mapping[str, Batches]
    tiles: Tiles
    evaluate: Callable[[Mapping[str, Batches], Tensor], Mapping[str, Slice]]

    def all(
        self, points: Tensor, first: int = 0, marks: Mapping[str, Array] = MappingProxyType({})
    ) -> tuple[dict[str, Slice], int]:
        """The loss at all points, by condition, and the number of the next tile; what is stored is not computed again.

        Args:
            points: one a row, coordinates of any kind.
            first: number of the first tile.
            marks: arrays that are stored beside each tile; one with others is made anew.
        """
        pieces: dict[str, list[Slice]] = {name: [] for name in self.inputs}
        number = first
        for number, some in enumerate(points.split(TILE), start=first):
            held = {name: self._read(name, number, marks) for name in self.inputs}
            missing = {name: self.inputs[name] for name, piece in held.items() if piece is None}
            made = self.evaluate(missing, some) if missing else {}
            for name, one in made.items():
                self.tiles.write(name, number, {**vars(one), **marks})
            for name, piece in {**held, **made}.items():
                if piece is not None:
                    pieces[name].append(piece)
        return {name: Slice.joined(some) for name, some in pieces.items()}, number + 1

    def stored(self, number: int) -> dict[str, Array] | None:
        """A tile of some condition that has one, with its marks, or None."""
        found = (self.tiles.read(name, number) for name in self.inputs)
        return next((one for one in found if one is not None), None)

    def _read(self, condition: str, number: int, marks: Mapping[str, Array]) -> Slice | None:
        """A stored tile; none if another version wrote it with other fields, or its marks are others."""
        found = self.tiles.read(condition, number)
        if found is None or found.keys() != FIELDS | marks.keys():
            return None
        if not all(np.array_equal(found[name], mark) for name, mark in marks.items()):
            return None
        return Slice(**{name: found[name] for name in FIELDS})
