"""What a process of test_parallel.py does; here, so that a spawned one can import it."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.landscape import directions
from geomlab.landscape.parallel import over_points, over_samples
from geomlab.landscape.slices import Slice, evaluate
from geomlab.risk import SampleLosses
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models
from tests.linalg.processes import WORLD

SUBJECT = models.subject(models.convolution())
INPUTS = {"clean": models.batches(), "dark": models.batches(13, 5)}
ALONG = [directions.gaussian(SUBJECT.weights, generator(0, axis)) for axis in (0, 1)]
POINTS = torch.tensor(
    [[0, 0], [0.5, 0], [1e308, 1e308], [-1, 2], [0.1, 0.1], [3, 3], [0, -1]], dtype=torch.float64
)
Attacks = Mapping[str, Callable[[Subject], Batches]]


def on_a_grid(
    points: Tensor, inputs: Mapping[str, Batches] = INPUTS, attacks: Attacks = MappingProxyType({})
) -> dict[str, Slice]:
    """What one process gives of some points."""
    return evaluate(SUBJECT, inputs, ALONG, points, attacks)


def failing(points: Tensor) -> dict[str, Slice]:
    """In one process only."""
    if bool((points[0] == POINTS[1]).all()):
        raise UserError("this one fails")
    return on_a_grid(points)


def failing_losses(rank: int) -> SampleLosses:
    """Likewise."""
    if rank:
        raise UserError("this one fails")
    return SampleLosses(torch.ones(2), torch.ones(2) > 0)


def everything(rank: int) -> dict[str, object]:
    """Slices in shares of points, of samples, and what fails."""
    shares = {name: batches.share(rank, WORLD) for name, batches in INPUTS.items()}
    found: dict[str, object] = {
        "points": over_points(on_a_grid, POINTS),
        "one point": over_points(on_a_grid, POINTS[:1]),
        "samples": evaluate(SUBJECT, shares, ALONG, POINTS, gather=over_samples),
    }
    for name, work in (
        ("failing", partial(over_points, failing, POINTS)),
        ("failing losses", partial(over_samples, partial(failing_losses, rank))),
    ):
        try:
            work()
        except UserError as error:
            found[name] = str(error)
    return found
