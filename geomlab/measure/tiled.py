"""Losses at many points, a tile at a time, so that an interrupted measurement goes on where it stopped."""

from collections.abc import Callable, Mapping
from dataclasses import fields

from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.landscape.slices import Slice
from geomlab.measure.base import Tiles

TILE = 64  # points that are stored at a time: ours


def in_tiles(
    inputs: Mapping[str, Batches],
    points: Tensor,
    tiles: Tiles,
    evaluate: Callable[[Mapping[str, Batches], Tensor], Mapping[str, Slice]],
    *,
    first: int = 0,
) -> dict[str, Slice]:
    """The loss at all points; tiles that were stored before are not computed again.

    Args:
        inputs: condition -> its inputs.
        points: one a row, coordinates of any kind.
        tiles: keeps parts.
        evaluate: gives the losses of some conditions at some of the points.
        first: number of the first tile.
    """
    pieces: dict[str, list[Slice]] = {name: [] for name in inputs}
    for number, some in enumerate(points.split(TILE), start=first):
        held = {name: _read(tiles, name, number) for name in inputs}
        missing = {name: inputs[name] for name, piece in held.items() if piece is None}
        made = evaluate(missing, some) if missing else {}
        for name, one in made.items():
            tiles.write(name, number, vars(one))
        for name, piece in {**held, **made}.items():
            if piece is not None:
                pieces[name].append(piece)
    return {name: Slice.joined(some) for name, some in pieces.items()}


def _read(tiles: Tiles, condition: str, number: int) -> Slice | None:
    """A stored tile; one that another version wrote with other fields is made anew."""
    found = tiles.read(condition, number)
    return Slice(**found) if found and found.keys() == {field.name for field in fields(Slice)} else None
