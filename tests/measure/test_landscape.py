"""Slices along directions that are known, on networks whose loss is known."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from geomlab import params
from geomlab.errors import UserError
from geomlab.landscape import directions
from geomlab.measure import Landscape
from geomlab.measure.landscape.axes import Place, parsed, steps
from geomlab.measure.landscape.evaluation import TILE
from geomlab.risk import sample_losses
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

SUBJECT = models.subject(models.convolution())
REFERENCE = SUBJECT.at({name: 0.8 * weight for name, weight in SUBJECT.weights.items()})
INPUTS = models.batches(40, 16)
FEW: dict[str, Any] = {"line_points": 9, "plane_points": 5}
AXES = (
    "random",
    "random:layer",
    "random:none,length=0.5",
    "gradient",
    "eigenvector:1",
    "eigenvector:2",
    "eigenvector:bottom",
    "adversarial",
    "adversarial:rank=1",
    "reference",
    "pca:1",
    "pca:2",
)


def passed(dtype: torch.dtype = torch.float64) -> tuple[Subject, ...]:
    """Networks of a trajectory: on the way from the reference, each off it in a direction of its own."""
    found = []
    for number, part in enumerate((0.8, 0.9, 0.95)):
        noise = directions.gaussian(SUBJECT.weights, generator(number, "off"), "layer")
        moved = {name: part * w + 0.02 * noise[name] for name, w in SUBJECT.weights.items()}
        found.append(SUBJECT.at(moved).to("cpu", dtype).named(f"step {number}"))
    return tuple(found)


def place(subject: Subject = SUBJECT) -> Place:
    return Place(subject, INPUTS, list(subject.weights), REFERENCE, passed(), 0, 2**30)


def warnings(found: Any) -> list[str]:
    said: list[str] = json.loads(str(found["warnings"].item()))
    return said


@pytest.mark.parametrize("spec", AXES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_slice_curves_as_the_hessian_says_along_every_direction(spec: str, dtype: torch.dtype) -> None:
    subject, batches = SUBJECT.to("cpu", dtype), INPUTS.to(SUBJECT.device, dtype)
    measurement = Landscape(
        axes=(spec, "random"), reference=REFERENCE.to("cpu", dtype), trajectory=passed(dtype), **FEW
    )
    found = models.slices(measurement, subject, batches)
    assert warnings(found) == []
    np.testing.assert_allclose(
        found["curvature"],
        found["curvature_by_hessian"],
        rtol=1e-5 if dtype == torch.float64 else 0.02,
        atol=1e-4,
    )
    names = list(SUBJECT.weights)
    axis = parsed(spec)(place(), 0)
    unit = params.flatten(axis.direction) / axis.norm
    exact = models.second_derivative(SUBJECT, INPUTS, names, unit)
    assert float(found["curvature_by_hessian"][0]) == pytest.approx(exact, rel=1e-3, abs=1e-6)
    assert float(found["curvature_low"][0]) < exact < float(found["curvature_high"][0])


def test_a_network_with_kinks_is_said_to_differ_from_its_hessian() -> None:
    """A ReLU's second derivative is 0 almost everywhere, and the slope of the loss changes at every kink."""
    subject = models.subject(nn.Sequential(nn.Flatten(), nn.Linear(72, 40), nn.ReLU(), nn.Linear(40, 3)))
    found = models.slices(Landscape(axes=("random", "random"), **FEW), subject, INPUTS)
    (first, *_) = warnings(found)
    assert first.startswith("along d0 the slice curves by")
    assert first.endswith("the loss has kinks there, or one of the two is wrong")


def test_eigenvectors_are_on_the_axes_they_are_asked_for() -> None:
    """The sharp direction comes out on the named axis, its eigenvalue in its name, and the plane curves by both."""
    hessian = models.dense_hessian(SUBJECT, INPUTS, list(SUBJECT.weights))
    values = torch.linalg.eigvalsh(hessian)
    sharp, flat = float(values[-1]), float(values[0])
    for axes, expected in (
        (("eigenvector:1", "eigenvector:bottom"), (sharp, flat)),
        (("eigenvector:bottom", "eigenvector:1"), (flat, sharp)),
    ):
        found = models.slices(Landscape(axes=axes, **FEW), SUBJECT, INPUTS)
        np.testing.assert_allclose(found["curvature"], expected, rtol=1e-2)
        assert [
            f"λ = {value:.3g}" in str(name)
            for value, name in zip(expected, found["direction"].values, strict=True)
        ]
        assert abs(float(found["axes_cosine"])) < 1e-3
        np.testing.assert_allclose(found["direction_norm"], np.sqrt(2 / np.abs(expected)), rtol=1e-2)
    first = models.slices(Landscape(axes=("eigenvector:1", "random:length=1e-6"), **FEW), SUBJECT, INPUTS)
    plane = first["plane_loss"]
    assert float(plane.std("alpha").mean()) > 100 * float(plane.std("beta").mean())


def test_the_line_to_the_reference_passes_through_it() -> None:
    found = models.slices(
        Landscape(axes=("reference", "random"), reference=REFERENCE, line_points=21, plane_points=3),
        SUBJECT,
        INPUTS,
    )
    at = np.argmin(np.abs(found["step"].values + 1))
    assert found["step"].values[at] == pytest.approx(-1)
    there = nn.functional.cross_entropy(REFERENCE(INPUTS.images), INPUTS.labels)
    assert float(found["line_loss"][at]) == pytest.approx(float(there))
    assert (found["step"].values[0], found["step"].values[-1]) == (-1.5, 0.5)
    assert float(found["direction_norm"][0]) == pytest.approx(0.2 * directions.norm(SUBJECT.weights))
    assert float(found["barrier"]) >= 0
    assert math.isnan(float(models.slices(Landscape(**FEW), SUBJECT, INPUTS)["barrier"]))


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 0), (torch.float64, 1e-13)])
def test_a_step_to_another_network_arrives_there(dtype: torch.dtype, off: float) -> None:
    """The ends of an interpolation are the checkpoints' own losses: in single precision to the bit."""
    subject, batches = SUBJECT.to("cpu", dtype), INPUTS.to(SUBJECT.device, dtype)
    noise = directions.gaussian(SUBJECT.weights, generator(9, "other"), "none")
    other = SUBJECT.at({name: 0.1 * w + noise[name] for name, w in SUBJECT.weights.items()}).to("cpu", dtype)
    measurement = Landscape(axes=("reference", "random"), reference=other, line_points=21, plane_points=3)
    found = models.slices(measurement, subject, batches)
    for step, network in ((-1, other), (0, subject)):
        at = np.argmin(np.abs(found["step"].values - step))
        exact = sample_losses(network, batches).loss.double().mean()
        assert abs(float(found["line_loss"][at]) - float(exact)) <= off


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_two_other_networks_the_plane_goes_through_all_three(dtype: torch.dtype) -> None:
    subject, others = SUBJECT.to("cpu", dtype), passed(dtype)[:2]
    measurement = Landscape(axes=("pca:1", "pca:2"), trajectory=others, **FEW)
    found = models.slices(measurement, subject, INPUTS.to(SUBJECT.device, dtype))
    assert list(found["waypoint"].values) == ["step 0", "step 1"]
    at = found["waypoint_step"].values
    assert at[0, 0] == pytest.approx(1)
    assert np.abs(at).max() == pytest.approx(1)
    assert (found["waypoint_off_plane"].values < 1e-7 * found["waypoint_distance"].values).all()
    assert (found["alpha"].values[0], found["alpha"].values[-1]) == pytest.approx((-0.25, 1.25))
    assert abs(float(found["axes_cosine"])) < 1e-6
    assert str(found["direction"].values[0]).startswith("principal direction 1 of 2 networks, 9")
    first = parsed("pca:1")(Place(subject, INPUTS, list(subject.weights), None, others, 0, 2**30), 0)
    second = parsed("pca:2")(Place(subject, INPUTS, list(subject.weights), None, others, 0, 2**30), 1)
    for other, (a, b) in zip(others, at, strict=True):
        for name, weight in other.weights.items():
            there = subject.weights[name].double() + a * first.direction[name] + b * second.direction[name]
            assert torch.equal(there.to(dtype), weight) or dtype == torch.float64
            torch.testing.assert_close(there.to(dtype), weight)


def test_other_networks_are_placed_on_any_plane() -> None:
    found = models.slices(
        Landscape(
            axes=("reference", "random"), reference=REFERENCE, trajectory=(REFERENCE, *passed()), **FEW
        ),
        SUBJECT,
        INPUTS,
    )
    assert found["waypoint_step"].values[0] == pytest.approx([-1, 0], abs=1e-9)
    assert float(found["waypoint_off_plane"][0]) < 1e-9
    shares = (found["waypoint_off_plane"] / found["waypoint_distance"]).values[1:]
    assert ((shares > 0.05) & (shares < 0.9)).all()
    assert "waypoint_step" not in models.slices(Landscape(**FEW), SUBJECT, INPUTS)


def test_a_length_is_that_of_a_step_and_a_right_angle_is_one() -> None:
    axes = ("reference", "random:layer,length=0.7")
    oblique, right = (
        models.slices(
            Landscape(axes=axes, orthogonal=orthogonal, reference=REFERENCE, **FEW), SUBJECT, INPUTS
        )
        for orthogonal in (False, True)
    )
    assert abs(float(oblique["axes_cosine"])) > 1e-3
    assert abs(float(right["axes_cosine"])) < 1e-12
    for found in (oblique, right):
        assert float(found["direction_norm"][1]) == pytest.approx(0.7)
        np.testing.assert_allclose(
            found["relative_norm"], found["direction_norm"] / directions.norm(SUBJECT.weights)
        )
    assert "less its part along d0" in str(right["direction"].values[1])


@pytest.mark.parametrize("points", [3, 5, 11, 21, 41, 51])
@pytest.mark.parametrize("spec", ["random", "reference", "gradient"])
def test_steps_have_the_centre_and_both_ends(spec: str, points: int) -> None:
    axis = parsed(spec)(place(), 0)
    found = steps(axis, points)
    assert len(found) == points
    assert float(found[0]) == axis.low
    assert float(found[-1]) == axis.high
    assert int((found == 0).sum()) == 1
    assert bool((found.diff() > 0).all())


def test_directions_are_of_the_clean_inputs_whatever_is_measured() -> None:
    """So all conditions are seen along the same ones, and each as it would be alone."""
    other = models.batches(23, 16)
    measurement = Landscape(axes=("gradient", "eigenvector:1"), **FEW)
    inputs = {"clean": INPUTS, "other": other}
    together = measurement.together(SUBJECT, inputs, INPUTS, models.Kept())
    for name in inputs:
        alone = measurement.together(SUBJECT, {name: inputs[name]}, INPUTS, models.Kept())[name]
        assert alone.identical(together[name])
    np.testing.assert_array_equal(together["clean"]["direction_norm"], together["other"]["direction_norm"])


def test_tiles_that_are_there_are_not_computed_again() -> None:
    class Cut(models.Kept):
        left = 3

        def write(self, condition: str, number: int, arrays: Mapping[str, Any]) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().write(condition, number, arrays)

    measurement = Landscape(line_points=9, plane_points=13)
    whole = models.slices(measurement, SUBJECT, INPUTS)
    tiles = Cut()
    with pytest.raises(KeyboardInterrupt):
        measurement.together(SUBJECT, {"clean": INPUTS}, INPUTS, tiles)
    assert sorted(tiles.arrays) == [("clean", 0), ("clean", 1), ("clean", 2)]
    tiles.left = 99
    tiles.arrays["clean", 0]["loss"] = tiles.arrays["clean", 0]["loss"] + 1.0  # as a sign that it was read
    again = measurement.together(SUBJECT, {"clean": INPUTS}, INPUTS, tiles)["clean"]
    np.testing.assert_array_equal(again["line_loss"], whole["line_loss"] + 1)
    after = whole["plane_loss"].values.ravel()[TILE - 9 :]
    np.testing.assert_array_equal(again["plane_loss"].values.ravel()[TILE - 9 :], after)
    assert len(tiles.arrays) == math.ceil(measurement.points / TILE)


def test_losses_that_overflow_are_kept_and_counted() -> None:
    subject = models.subject(models.softmax_regression(), torch.float32)
    batches = INPUTS.to(subject.device, torch.float32)
    found = models.slices(Landscape(axes=("random:none,length=1e39", "random"), **FEW), subject, batches)
    assert not np.isfinite(found["line_loss"]).all()
    assert math.isfinite(float(found["line_loss"].sel(step=0)))
    assert "points of the landscape have a loss that is not finite" in warnings(found)[0]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            ("up", "random"),
            r"no direction 'up'; there are random\[:filter\|layer\|none\], gradient, .*length=…",
        ),
        (("random:row", "random"), r"'random:row': expected random:filter\|layer\|none"),
        (("random", "eigenvector:0"), r"expected eigenvector:1 \(the largest\), :2, … or :bottom"),
        (("random", "eigenvector:first"), r"expected eigenvector:1"),
        (("gradient:up", "random"), r"gradient takes no 'up'"),
        (("gradient:length=0", "random"), r"length, of one step in weight space, must be above 0"),
        (("gradient:rho=1", "random"), r"unknown option rho; 'gradient' takes: length"),
        (("pca:bottom", "random"), r"expected pca:1 \(the largest\), :2, …$"),
        (("adversarial:rank=0", "random"), r"rank must be a whole number of at least 1"),
    ],
)
def test_directions_that_are_none_are_refused_before_anything_is_computed(
    axes: tuple[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Landscape(axes=axes)


OTHER = models.subject(models.softmax_regression())


@pytest.mark.parametrize(
    ("axes", "networks", "message"),
    [
        (("reference", "random"), {}, r"direction 'reference': there is none; give --reference"),
        (("random", "reference:length=1"), {}, r"direction 'reference': there is none; give --reference"),
        (("reference", "random"), {"reference": OTHER}, r"slices: network has no 0\.weight of that shape"),
        (("pca", "random"), {}, r"direction 'pca': there are no other networks; give --trajectory"),
        (("pca:1", "pca:2"), {"trajectory": (REFERENCE,)}, r"'pca:2': the networks .* span 1 dimensions"),
        (("pca", "random"), {"trajectory": (SUBJECT,)}, r"'pca:1': the networks .* span 0 dimensions"),
        (("random", "random"), {"trajectory": (OTHER,)}, r"slices: network has no 0\.weight of that shape"),
    ],
)
def test_networks_that_are_not_there_or_of_another_form_are_refused_before_anything_is_computed(
    axes: tuple[str, str], networks: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Landscape(axes=axes, **networks, **FEW).check(SUBJECT, INPUTS)


def test_an_eigenvector_too_many_is_refused() -> None:
    with pytest.raises(UserError, match=r"eigenvector:9: the subspace has 3 dimensions only"):
        models.slices(Landscape("4.bias", axes=("eigenvector:9", "random"), **FEW), SUBJECT, INPUTS)


def test_a_step_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(UserError, match=r"a step of 1e\+200 is too long for numbers"):
        models.slices(Landscape(axes=("random:length=1e200", "random"), **FEW), SUBJECT, INPUTS)


@pytest.mark.parametrize("network", [models.Custom(models.CutSquare), models.Bag()])
def test_a_network_without_second_derivative_is_sliced_and_not_checked(network: nn.Module) -> None:
    subject = models.subject(network)
    found = models.slices(Landscape(**FEW), subject, INPUTS)
    assert np.isfinite(found["curvature"]).all()
    assert np.isnan(found["curvature_by_hessian"]).all()
    assert warnings(found)[0].startswith("the curvature of the slice is not checked against dᵀHd: ")
