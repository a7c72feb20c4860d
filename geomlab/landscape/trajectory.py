"""Other networks seen from one: their principal directions, and where they lie on the plane of two directions.

All is in fp64 of differences θᵢ − θ, which are made a tensor at a time and never kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geomlab.landscape import directions
from geomlab.stats import Array
from geomlab.typing import Params

RANK = 1e-12  # of the largest squared length along a principal direction: what is below is rounding


@dataclass(frozen=True, eq=False)
class Principal:
    """A principal direction of differences.

    Attributes:
        direction: of length 1, in fp64.
        along: (others,) the components of the differences along it.
        share: of the sum of their squared lengths.
    """

    direction: dict[str, Tensor]
    along: Array
    share: float


def principal(weights: Params, others: Sequence[Params]) -> list[Principal]:
    """The principal directions of θᵢ − θ, by falling share; as many as they span.

    Not centred at the mean (unlike Li et al. 2018, arXiv 1712.09913, section 7, whose code is): each passes through θ,
    and of two others the two span the plane through all three networks.

    Args:
        weights: θ.
        others: θᵢ, of the same parameters.
    """
    gram = torch.zeros(len(others), len(others), dtype=torch.float64)
    for _, differences in _differences(weights, others):
        flat = torch.stack([one.flatten() for one in differences])
        gram += (flat @ flat.T).cpu()
    squares, turn = torch.linalg.eigh(gram)
    found = []
    for square, column in zip(squares.flip(0).tolist(), turn.flip(1).unbind(1), strict=True):
        if square <= RANK * float(squares[-1]):
            break
        along = square**0.5 * column
        direction = {
            name: torch.stack([c * one for c, one in zip(column.tolist(), differences, strict=True)]).sum(0)
            for name, differences in _differences(weights, others)
        }
        unit = directions.scaled(direction, square**-0.5)
        found.append(Principal(unit, along.numpy(), square / float(squares.sum())))
    return found


def placed(weights: Params, others: Sequence[Params], axes: Sequence[Params]) -> tuple[Array, Array, Array]:
    """Where other networks are seen on the plane of some directions through θ: the nearest points to them.

    Args:
        weights: θ.
        others: θᵢ, of the same parameters.
        axes: the directions; one of length zero, or along those before it, has no coordinate.

    Returns:
        Coordinates (others, axes) in steps, distances (others,) ‖θᵢ − θ‖, and how far (others,) each is off the plane.
    """
    matrix = np.array([[directions.inner(a, b) for b in axes] for a in axes])
    sides = np.zeros((len(axes), len(others)))
    squares = np.zeros(len(others))
    for name, differences in _differences(weights, others):
        squares += [float(one.square().sum()) for one in differences]
        sides += [[float((axis[name].double() * one).sum()) for one in differences] for axis in axes]
    scale = np.sqrt(np.diag(matrix))
    scale[scale == 0] = 1.0
    coordinates = np.linalg.pinv(matrix / np.outer(scale, scale), rcond=RANK, hermitian=True) @ (
        sides / scale[:, None]
    )
    coordinates = (coordinates / scale[:, None]).T
    off = np.zeros(len(others))
    for name, differences in _differences(weights, others):
        for number, (one, place) in enumerate(zip(differences, coordinates, strict=True)):
            left = one - sum(float(c) * axis[name].double() for c, axis in zip(place, axes, strict=True))
            off[number] += float(left.square().sum())
    return coordinates, np.sqrt(squares), np.sqrt(off)


def _differences(weights: Params, others: Sequence[Params]) -> Iterator[tuple[str, list[Tensor]]]:
    for name, weight in weights.items():
        yield name, [other[name].to(weight.device).double() - weight.double() for other in others]
