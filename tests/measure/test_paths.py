"""Paths under several conditions: what the ends are, what is held back, and what an interruption leaves."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from geomlab import params
from geomlab.data.arrays import Arrays
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.errors import UserError
from geomlab.landscape import directions, paths
from geomlab.measure import Accuracy, FeatureGeometry, Paths
from geomlab.measure.forecast import forecast
from geomlab.measure.paths import parsed
from geomlab.measure.trial import try_derivatives
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

SUBJECT = models.subject(models.convolution(), torch.float32)
NOISE = directions.gaussian(SUBJECT.weights, generator(3, "other"), "none")
REFERENCE = SUBJECT.at(directions.plus(SUBJECT.weights, NOISE)).named("start")
INPUTS = models.batches(40, 16, torch.float32)
ALL = ("linear:cka=yes", "bezier:steps=4,cka=yes", "piecewise:bends=2,steps=4")


def seen(*specs: str, **more: Any) -> Paths:
    return Paths(REFERENCE, specs or ALL, count=5, **more)


def warnings(found: xr.Dataset) -> list[str]:
    said: list[str] = json.loads(str(found["warnings"].item()))
    return said


def state(network: Subject) -> str:
    return params.digest({**network.weights, **network.buffers})


def test_the_ends_of_an_interpolation_have_the_losses_of_the_checkpoints() -> None:
    """To the bit, those of the accuracy measurement; buffers go along."""
    moved = {n: b + 0.2 if b.is_floating_point() else b for n, b in REFERENCE.buffers.items()}
    start = replace(REFERENCE, buffers=moved)
    found = models.alone(Paths(start, ("linear",), count=5), SUBJECT, INPUTS)
    for t, network in ((0, start), (1, SUBJECT)):
        own = Accuracy()(network, INPUTS, generator(0, "a"))
        assert float(found["loss"].sel(path="linear", t=t)) == float(own["mean_loss"])
        assert float(found["accuracy"].sel(path="linear", t=t)) == float(own["accuracy"])
        np.testing.assert_allclose(found["loss_stderr"].sel(path="linear", t=t), own["mean_loss_stderr"])
    assert (int(found["n"]), int(found["n_trained"])) == (40, 0)
    (said,) = warnings(found)
    assert said.startswith("buffers differ between the ends of the paths (1.running_mean, …)")


def test_features_are_compared_with_those_of_both_ends() -> None:
    found = models.alone(seen("linear:cka=yes"), SUBJECT, INPUTS)
    against = models.alone(FeatureGeometry(REFERENCE, k=5), SUBJECT, INPUTS).sel(layer="features")
    first, last = found.isel(path=0, t=0), found.isel(path=0, t=-1)
    for there, end in ((last, "start"), (first, "end")):
        assert float(there[f"cka_to_{end}"]) == pytest.approx(float(against["reference_cka"]), rel=1e-6)
        error = float(against["reference_cka_stderr"])
        assert float(there[f"cka_to_{end}_stderr"]) == pytest.approx(error, rel=1e-6)
    assert float(first["cka_to_start"]) == pytest.approx(1) == float(last["cka_to_end"])
    assert "cka_to_start" not in models.alone(seen("linear"), SUBJECT, INPUTS)
    both = models.alone(seen("linear", "bezier:steps=2,cka=yes"), SUBJECT, INPUTS)
    assert np.isfinite(both["cka_to_end"]).all("t").values.tolist() == [False, True]
    assert warnings(both) == []


def test_paths_are_measured_on_other_samples_than_they_are_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Batches] = []

    def watched(path: paths.Path, batches: Batches, *more: Any, **others: Any) -> tuple[paths.Path, int]:
        given.append(batches)
        return trained(path, batches, *more, **others)

    trained = paths.trained
    monkeypatch.setattr(paths, "trained", watched)
    shifted = replace(INPUTS, images=1 - INPUTS.images)
    strange = replace(models.batches(13, 5, torch.float32), paired=False)
    inputs = {"clean": INPUTS, "shifted": shifted, "strange": strange}
    found = seen().together(SUBJECT, inputs, INPUTS, models.Kept())
    assert {name: (int(one["n"]), int(one["n_trained"])) for name, one in found.items()} == {
        "clean": (20, 20),
        "shifted": (20, 20),
        "strange": (13, 20),
    }
    assert len(given) == 2  # once for all conditions
    rows = {bytes(image.numpy()): row for row, image in enumerate(INPUTS.images)}
    learnt = [rows[bytes(image.numpy())] for image in given[0].images]
    held = torch.tensor([row for row in range(40) if row not in learnt])
    assert len(set(learnt)) == 20
    for name, batches in (("clean", INPUTS), ("shifted", shifted)):
        own = Accuracy()(SUBJECT, batches.take(held), generator(0, "a"))
        for path in found[name]["path"].values:
            assert float(found[name]["loss"].sel(path=path, t=1)) == float(own["mean_loss"])
    ends = models.alone(seen("linear"), SUBJECT, INPUTS.take(torch.tensor(learnt)))["loss"].isel(path=0)
    line = np.trapezoid(ends, ends["t"])
    np.testing.assert_allclose(found["clean"]["training_loss_before"][1:], line, rtol=1e-6)
    assert math.isnan(float(found["clean"]["training_loss_before"][0]))
    assert (found["clean"]["training_loss_after"] < found["clean"]["training_loss_before"])[1:].all()
    assert found["clean"]["steps"].values.tolist() == [0, 4, 4]


def test_no_number_depends_on_other_conditions_or_paths() -> None:
    inputs = {"clean": INPUTS, "other": replace(INPUTS, images=1 - INPUTS.images)}
    together = seen().together(SUBJECT, inputs, INPUTS, models.Kept())
    for name, batches in inputs.items():
        alone = seen().together(SUBJECT, {name: batches}, INPUTS, models.Kept())[name]
        xr.testing.assert_identical(alone, together[name])
    one = seen("bezier:steps=4,cka=yes").together(SUBJECT, inputs, INPUTS, models.Kept())["other"]
    xr.testing.assert_identical(one, together["other"].sel(path=["bezier:steps=4"]))


def test_the_networks_are_left_as_they_were_also_by_an_exception() -> None:
    before = state(SUBJECT), state(REFERENCE)
    models.alone(seen(), SUBJECT, INPUTS)
    with pytest.raises(KeyboardInterrupt):
        seen().together(SUBJECT, {"clean": INPUTS}, INPUTS, Interrupted(5))
    assert (state(SUBJECT), state(REFERENCE)) == before


class Interrupted(models.Kept):
    """Tiles in memory until a number of them is written."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def write(self, condition: str, number: int, arrays: Mapping[str, Any]) -> None:
        if len(self.arrays) == self.last:
            raise KeyboardInterrupt
        super().write(condition, number, arrays)


@pytest.mark.parametrize("last", [0, 3, 6])
def test_what_was_interrupted_goes_on_from_its_tiles(last: int) -> None:
    inputs = {"clean": INPUTS, "other": replace(INPUTS, images=1 - INPUTS.images)}
    whole = models.Kept()
    expected = seen().together(SUBJECT, inputs, INPUTS, whole)
    cut = Interrupted(last)
    with pytest.raises(KeyboardInterrupt):
        seen().together(SUBJECT, inputs, INPUTS, cut)
    written: list[tuple[str, int]] = []

    class Rest(models.Kept):
        def write(self, condition: str, number: int, arrays: Mapping[str, Any]) -> None:
            written.append((condition, number))
            super().write(condition, number, arrays)

    rest = Rest()
    rest.arrays = dict(cut.arrays)
    again = seen().together(SUBJECT, inputs, INPUTS, rest)
    assert len(cut.arrays) == last
    assert set(written) == whole.arrays.keys() - cut.arrays.keys()
    for name in inputs:
        xr.testing.assert_identical(again[name], expected[name])


def test_attacked_anew_only_the_end_is_as_with_inputs_held_fixed() -> None:
    source = Arrays("tests:images", (INPUTS.images.numpy(), INPUTS.labels.numpy()))
    clean, condition = parse_conditions(["clean", "pgd:eps=0.1,steps=3"], source, n=40, seed=0, batch_size=16)
    start = clean.clean(SUBJECT)
    inputs = {"clean": start, "pgd": condition.realise(SUBJECT, start)}
    attacks = {"pgd": lambda there: condition.realise(there, start)}
    fixed, anew = (
        seen("linear", "bezier:steps=4", attack=how).together(SUBJECT, inputs, start, models.Kept(), attacks)
        for how in ("fixed", "anew")
    )
    xr.testing.assert_identical(fixed["clean"], anew["clean"])
    assert bool((anew["pgd"]["loss"].sel(t=1) == fixed["pgd"]["loss"].sel(t=1)).all())
    assert bool((anew["pgd"]["loss"].sel(t=0) > fixed["pgd"]["loss"].sel(t=0)).all())
    assert str(anew["pgd"]["inputs"].item()) == "attack recomputed at each point"
    assert str(fixed["pgd"]["inputs"].item()) == "inputs realised at t = 1 and held fixed"


def test_a_loss_that_is_not_finite_on_the_way_is_kept_and_said() -> None:
    maps = [nn.Linear(a, b, bias=False) for a, b in ((72, 4), (4, 4), (4, 3))]
    network = models.subject(nn.Sequential(nn.Flatten(), *maps), torch.float32)
    first, last, _ = network.weights
    start, end = (
        network.at({first: network.weights[first] * size, last: network.weights[last] / size})
        for size in (1e25, 1e-25)
    )
    found = models.alone(Paths(start, ("linear:cka=yes", "bezier:steps=3"), count=5), end, INPUTS)
    assert np.isfinite(found["loss"]).isel(path=0).values.tolist() == [True, False, False, False, True]
    assert not np.isfinite(found["barrier"]).any()
    assert found["steps_left_out"].values.tolist()[1] == 3
    assert np.isfinite(found["cka_to_start"]).isel(path=0).values.tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    first_said, second, *_, last_said = warnings(found)
    assert first_said == "3 points of the path linear have a loss that is not finite"
    assert second.startswith("CKA is not defined at 3 points of the path linear")
    assert last_said == "3 of 3 training steps of the path bezier:steps=3 had a gradient that is not finite"


def test_between_a_network_and_itself_there_is_no_way() -> None:
    found = models.alone(Paths(SUBJECT, ("linear", "bezier:steps=2"), count=5), SUBJECT, INPUTS)
    assert np.ptp(found["loss"].values) < 1e-6
    assert (found["barrier"] == 0).all()
    assert np.isnan(found["relative_length"]).all()
    assert warnings(found)[0].startswith("both ends of the paths are the same in all parameters that move")


def test_accuracy_has_a_barrier_of_its_own() -> None:
    found = models.alone(seen("linear"), SUBJECT, INPUTS).isel(path=0)
    wrong, t = 1 - found["accuracy"].values, found["t"].values
    rise = (wrong - (1 - t) * wrong[0] - t * wrong[-1]).max()
    assert float(found["accuracy_barrier"]) == pytest.approx(rise, abs=1e-12)
    assert float(found["accuracy_barrier_low"]) <= rise <= float(found["accuracy_barrier_high"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("curved", "no path 'curved'; there are linear, piecewise"),
        ("linear:steps=3", "unknown option steps; 'linear' takes: cka"),
        ("bezier:bends=2", "unknown option bends; 'bezier' takes: steps, cka"),
        ("piecewise:2", "no path 'piecewise:2'"),
        ("piecewise:bends=0", "bends must be a whole number of at least 1"),
        ("bezier:steps=many", "steps must be a number"),
        ("bezier:cka=maybe", "cka must be yes or no, got 'maybe'"),
        ("", "empty SPEC"),
    ],
)
def test_specs_that_mean_nothing_are_refused(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parsed(spec)


def test_specs_are_called_by_what_makes_the_path() -> None:
    assert parsed("bezier:cka=yes").label == "bezier" == parsed("bezier").label
    assert parsed("piecewise:steps=7,bends=3,cka=no").label == "piecewise:steps=7,bends=3"
    assert parsed("piecewise").steps == parsed("bezier").steps == paths.STEPS


def test_networks_and_samples_that_do_not_fit_are_refused() -> None:
    seen().check(SUBJECT, INPUTS)
    few = INPUTS.take(torch.arange(15))
    with pytest.raises(UserError, match=r"15 clean samples, half of which .* are too few; use --samples 16"):
        seen().check(SUBJECT, few)
    seen("bezier").check(SUBJECT, few)
    seen("linear:cka=yes").check(SUBJECT, few)
    with pytest.raises(UserError, match="7 clean samples are too few; use --samples 8"):
        seen("linear:cka=yes").check(SUBJECT, INPUTS.take(torch.arange(7)))
    with pytest.raises(UserError, match=r"start has no 1\.weight of the shape that it has in network"):
        seen("linear").check(models.subject(models.softmax_regression(), torch.float32), INPUTS)
    other = nn.Sequential(*[nn.ReLU() if isinstance(m, nn.Tanh) else m for m in models.convolution()])
    with pytest.raises(UserError, match="start and network compute otherwise from the same parameters"):
        seen("linear").check(models.subject(other, torch.float32), INPUTS)


class Cut(nn.Module):
    """No gradient comes through."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(72, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1)).detach()


def test_a_path_is_trained_only_where_there_is_a_gradient() -> None:
    network = models.subject(Cut(), torch.float32)
    try_derivatives(Paths(network, ("linear",)), network, INPUTS)
    with pytest.raises(UserError, match="have no path but --path linear"):
        try_derivatives(Paths(network, ("linear", "bezier")), network, INPUTS)


def test_points_are_forecast_for_each_condition_and_training_once() -> None:
    assert seen("linear").passes(40) == (0, 5)
    assert seen("linear:cka=yes", "bezier:steps=4").passes(40) == (4 * 3 * 0.5 + 5, (10 + 5) / 2)
    found = forecast(seen("bezier:steps=1000"), SUBJECT, INPUTS)
    assert found.once > 50 * found.usual > 0
    assert found.usual == found.most
