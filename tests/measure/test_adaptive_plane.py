"""`--plane adaptive` as a measurement: what is stored, shared between conditions, and found again."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from geomlab.errors import UserError
from geomlab.landscape.slices import evaluate
from geomlab.measure import Landscape
from geomlab.measure.forecast import forecast
from geomlab.measure.landscape import PLANES
from geomlab.measure.landscape.axes import Place, parsed
from geomlab.measure.tiled import TILE
from geomlab.risk import sample_losses
from tests import models

SUBJECT = models.subject(models.convolution())
REFERENCE = SUBJECT.at({name: 0.8 * weight for name, weight in SUBJECT.weights.items()})
INPUTS = {"clean": models.batches(40, 16), "other": models.batches(30, 16)}
CLEAN = INPUTS["clean"]
ADAPTIVE = Landscape(plane="adaptive", line_points=9)


class Cut(models.Kept):
    """Tiles of a run that is killed at one of them."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def write(self, condition: str, number: int, arrays: Mapping[str, Any]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(condition, number, arrays)


def plane(found: xr.Dataset) -> dict[str, Any]:
    return {name: found[name].values for name in found if str(name).startswith("plane_")}


def test_a_grid_is_what_it_was() -> None:
    assert Landscape().parameters.keys() & {"plane"} == set()
    assert Landscape(plane="grid").parameters == Landscape().parameters
    found = models.alone(Landscape(line_points=9, plane_points=5), SUBJECT, CLEAN)
    assert set(plane(found)) == {"plane_loss", "plane_loss_stderr", "plane_accuracy"}
    assert found["plane_loss"].shape == (5, 5)


@pytest.mark.parametrize(
    "axes", [("random", "random"), ("reference", "pca:1"), ("eigenvector:1", "gradient")]
)
def test_measured_points_are_the_losses_there_and_the_others_within_the_error(axes: tuple[str, str]) -> None:
    measurement = Landscape(
        axes=axes, plane="adaptive", line_points=9, reference=REFERENCE, trajectory=(REFERENCE,)
    )
    found = models.alone(measurement, SUBJECT, CLEAN)
    assert str(found["plane_status"].values) == "reached"
    assert float(found["plane_error"]) <= float(found["plane_tolerance"]) == 0.02
    mask = found["plane_measured"].values == 1
    assert mask.sum() == int(found["plane_points"]) < 400
    alpha, beta = found["alpha"].values, found["beta"].values
    assert bool((np.diff(alpha) > 0).all())
    assert mask[alpha == 0, beta == 0].all()
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].all()

    names = list(SUBJECT.weights)
    place = Place(SUBJECT, CLEAN, names, REFERENCE, (REFERENCE,), 0, 2**30)
    pair = [parsed(text)(place, axis) for axis, text in enumerate(axes)]
    assert (alpha[0], alpha[-1]) == (pair[0].low, pair[0].high)
    rows, columns = np.nonzero(mask)
    some = np.random.default_rng(0).choice(len(rows), 20, replace=False)
    others = np.argwhere(~mask)[np.random.default_rng(0).choice(int((~mask).sum()), 60, replace=False)]
    at = np.concatenate([np.stack([rows, columns], 1)[some], others])
    points = torch.from_numpy(np.stack([alpha[at[:, 0]], beta[at[:, 1]]], 1))
    exact = evaluate(SUBJECT, {"x": CLEAN}, [axis.direction for axis in pair], points)["x"]
    for name, values in (("loss", exact.loss), ("loss_stderr", exact.stderr), ("accuracy", exact.accuracy)):
        interpolated = found[f"plane_{name}"].values[at[:, 0], at[:, 1]]
        np.testing.assert_array_equal(interpolated[:20], values[:20])
        if name == "loss":
            off = np.abs(interpolated - values) / np.maximum(1, values)
            assert off.max() <= float(found["plane_error"])
    assert float(found["plane_loss"].sel(alpha=0, beta=0)) == float(found["line_loss"].sel(step=0))


def test_the_reference_is_among_the_points() -> None:
    measurement = Landscape(
        axes=("reference", "random"), plane="adaptive", reference=REFERENCE, line_points=9
    )
    found = models.alone(measurement, SUBJECT, CLEAN)
    exact = float(sample_losses(REFERENCE, CLEAN).loss.double().mean())
    assert float(found["plane_loss"].sel(alpha=-1, beta=0)) == pytest.approx(exact, rel=1e-12)
    assert float(found["plane_measured"].sel(alpha=-1, beta=0)) == 1


def test_the_sharp_direction_is_on_the_axis_it_was_asked_for() -> None:
    axes = ("eigenvector:1", "random:length=1e-6")
    for order, sharp in ((axes, "alpha"), (axes[::-1], "beta")):
        loss = models.alone(Landscape(axes=order, plane="adaptive", line_points=9), SUBJECT, CLEAN)[
            "plane_loss"
        ]
        flat = "beta" if sharp == "alpha" else "alpha"
        assert float(loss.std(sharp).mean()) > 100 * float(loss.std(flat).mean())


def test_the_area_and_its_interval_are_those_of_a_grid() -> None:
    grid = models.alone(Landscape(line_points=9, plane_points=33), SUBJECT, CLEAN)
    adaptive = models.alone(Landscape(line_points=9, plane="adaptive:error=0.005"), SUBJECT, CLEAN)
    for name in ("area", "area_low", "area_high"):
        assert float(adaptive[name]) == pytest.approx(float(grid[name]), rel=0.03)
    assert int(adaptive["plane_points"]) < 33**2 / 2


def test_conditions_have_the_same_points_and_the_weights_of_one_are_made_once() -> None:
    found = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, models.Kept())
    masks = [one["plane_measured"].values for one in found.values()]
    np.testing.assert_array_equal(*masks)
    assert all(str(one["plane_status"].values) == "reached" for one in found.values())
    assert float(found["clean"]["plane_error"]) != float(found["other"]["plane_error"])


def test_killed_at_any_tile_and_resumed_it_is_the_same_to_the_bit() -> None:
    tiles = models.Kept()
    whole = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, tiles)
    count = len(tiles.arrays)
    assert count == 2 * (max(number for _, number in tiles.arrays) + 1)
    for left in (0, 1, *range(3, count, 5), count - 1):
        cut = Cut(left)
        with pytest.raises(KeyboardInterrupt):
            ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, cut)
        cut.left = count - left  # what is there is not computed again
        again = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, cut)
        assert cut.left == 0
        for name, one in whole.items():
            assert again[name].identical(one)


def test_a_condition_whose_companion_is_done_already_is_the_same_too() -> None:
    """Killed between the writing of two cells: the points are those that both have chosen."""
    tiles = models.Kept()
    whole = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, tiles)
    before = len(tiles.arrays)
    for name in INPUTS:
        alone = ADAPTIVE.together(SUBJECT, {name: INPUTS[name]}, CLEAN, tiles)
        assert alone[name].identical(whole[name])
    assert len(tiles.arrays) == before


def test_a_condition_that_comes_later_goes_through_the_points_there_are() -> None:
    tiles = Cut(4)
    with pytest.raises(KeyboardInterrupt):
        ADAPTIVE.together(SUBJECT, {"clean": CLEAN}, CLEAN, tiles)
    tiles.left = 1000
    both = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, tiles)
    expected = ADAPTIVE.together(SUBJECT, INPUTS, CLEAN, models.Kept())
    for name in INPUTS:
        assert set(plane(both[name])) == set(plane(expected[name]))
        assert str(both[name]["plane_status"].values) == "reached"


def test_what_is_not_reached_is_a_warning() -> None:
    found = models.alone(Landscape(plane="adaptive:error=1e-6,points=120", line_points=9), SUBJECT, CLEAN)
    assert str(found["plane_status"].values) == "not reached with 120 points"
    (said,) = json.loads(str(found["warnings"].values))
    assert said.endswith("with 120 points, not 1e-06; give it more with --plane adaptive:points=…")


def test_losses_that_overflow_are_kept() -> None:
    subject = models.subject(models.softmax_regression(), torch.float32)
    batches = CLEAN.to(subject.device, torch.float32)
    measurement = Landscape(axes=("random:none,length=1e39", "random"), plane="adaptive", line_points=9)
    found = models.alone(measurement, subject, batches)
    loss = found["plane_loss"]
    assert not np.isfinite(loss.values).all()
    assert np.isfinite(float(loss.sel(alpha=0, beta=0)))
    assert int(found["plane_points"]) <= 500


def test_the_forecast_counts_its_points() -> None:
    for text, usual, most in (("adaptive", 150, 500), ("adaptive:error=0.005,points=900", 300, 900)):
        measurement = Landscape(plane=text, line_points=9)
        assert measurement.points - Landscape(line_points=9, plane_points=1).points == usual - 1
        assert measurement.most_points - measurement.points == most - usual
    found = forecast(ADAPTIVE, SUBJECT, CLEAN)
    assert 1 < found.most / found.usual < 4
    assert (
        forecast(Landscape(), SUBJECT, CLEAN).usual
        < forecast(Landscape(plane_points=51), SUBJECT, CLEAN).usual
    )
    assert TILE < 97


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fine", f"no plane 'fine'; there are {PLANES[0]}"),
        ("adaptive:0.1", "no plane 'adaptive:0.1'"),
        ("grid:points=5", "'grid:points=5': unknown option points; 'grid' takes: none"),
        ("adaptive:tolerance=1", "unknown option tolerance; 'adaptive' takes: error, points"),
        ("adaptive:error=0", "error, of the surface, must be above 0"),
        ("adaptive:error=nan", "error must be a number"),
        ("adaptive:points=20", "points, at most, must be at least 97"),
        ("adaptive:points=1.5", "points must be a whole number"),
    ],
)
def test_another_plane_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        Landscape(plane=text)
    assert said in str(error.value)
