"""Points of a slice, evaluated a tile at a time; those that were stored before are not computed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from geomlab.data.batches import Batches
from geomlab.landscape.slices import Slice, evaluate
from geomlab.measure.base import Realise, Tiles
from geomlab.stats import Array
from geomlab.subject import Subject
from geomlab.typing import Params

TILE = 64  # points that are stored at a time: ours


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is evaluated.

    Attributes:
        subject: the centre.
        inputs: condition -> its inputs.
        along: directions.
        tiles: keep what was computed.
        attacks: condition -> what attacks its samples anew.
    """

    subject: Subject
    inputs: Mapping[str, Batches]
    along: Sequence[Params]
    tiles: Tiles
    attacks: Mapping[str, Realise]

    def all(
        self, points: torch.Tensor, first: int = 0, marks: Mapping[str, Array] = MappingProxyType({})
    ) -> tuple[dict[str, Slice], int]:
        """Losses at (points, axes) coordinates by condition, and the number of the next tile.

        Args:
            points: coordinates.
            first: number of their first tile.
            marks: arrays that are stored beside each tile; one with others is computed anew.
        """
        pieces: dict[str, list[Slice]] = {name: [] for name in self.inputs}
        number = first
        for number, some in enumerate(points.split(TILE), start=first):
            for name, one in self._tile(number, some, marks).items():
                pieces[name].append(one)
        return {name: Slice.joined(some) for name, some in pieces.items()}, number + 1

    def stored(self, number: int) -> dict[str, Array] | None:
        """A tile of some condition that has one, or None."""
        found = (self.tiles.read(name, number) for name in self.inputs)
        return next((one for one in found if one is not None), None)

    def _tile(self, number: int, points: torch.Tensor, marks: Mapping[str, Array]) -> dict[str, Slice]:
        held = {name: self.tiles.read(name, number) for name in self.inputs}
        missing = {
            name: self.inputs[name] for name, one in held.items() if one is None or not _marked(one, marks)
        }
        made = evaluate(self.subject, missing, self.along, points, self.attacks) if missing else {}
        for name, one in made.items():
            held[name] = {**vars(one), **marks}
            self.tiles.write(name, number, {**vars(one), **marks})
        return {name: _slice(arrays or {}, marks) for name, arrays in held.items()}


def _marked(arrays: Mapping[str, Array], marks: Mapping[str, Array]) -> bool:
    return all(name in arrays and np.array_equal(arrays[name], mark) for name, mark in marks.items())


def _slice(arrays: Mapping[str, Array], marks: Mapping[str, Array]) -> Slice:
    return Slice(**{name: array for name, array in arrays.items() if name not in marks})
