"""The checks on networks that hide their gradients and on honest ones."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import geomlab
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition, parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.measure import Sanity
from geomlab.measure.affordable import flops
from geomlab.measure.sanity import CONTROLS, FEWEST
from geomlab.subject import Subject
from tests import models

N = 30
QUERIES = 60


def condition(spec: str, n: int = N, batch_size: int = 64) -> Condition:
    (found,) = parse_conditions([spec], open_source("glyphs"), n=n, seed=0, batch_size=batch_size)
    return found


class Scaled(nn.Module):
    """Logits so large that the softmax is 1 to the last bit, and its gradient 0."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 1e4 * self.inner(x)


class Quantised(nn.Module):
    """Images of few grey values, whose derivative is 0."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * 2).round() / 2)


def wrapped(subject: Subject, wrap: Callable[[nn.Module], nn.Module]) -> Subject:
    weights = {f"inner.{name}": tensor for name, tensor in subject.weights.items()}
    return replace(subject, module=wrap(subject.module), weights=weights)


@pytest.fixture(scope="module")
def network() -> Subject:
    return geomlab.load(checkpoint_path("ft"))


def checked(subject: Subject, of: Condition, samples: int = N) -> xr.Dataset:
    return Sanity(samples, queries=QUERIES)(subject, of, of.realise(subject))


def words(found: xr.Dataset) -> dict[str, str]:
    return dict(zip(found["check"].values.tolist(), found["verdict"].values.tolist(), strict=True))


@pytest.fixture(scope="module")
def honest(network: Subject) -> xr.Dataset:
    return checked(network, condition("pgd:eps=4/255"))


def test_an_honest_network_passes_all(honest: xr.Dataset) -> None:
    assert words(honest) == dict.fromkeys(["falls", "noise", "steps", "black_box"], "holds")
    assert honest["warnings"].item() == "[]"
    accuracy = honest["accuracy"].sel(multiple=[0, 1, inf]).values
    assert accuracy[0] > 0.9 > 0.6 > accuracy[1] > accuracy[2] == 0
    np.testing.assert_allclose(honest["eps"].values * 255, [0, 2, 4, 8, 16, 255])
    np.testing.assert_array_equal(honest["correct"].mean("sample").values, honest["accuracy"].values)
    assert honest["control"].values.tolist() == list(CONTROLS)


@pytest.mark.parametrize("wrap", [Scaled, Quantised])
def test_a_network_that_hides_its_gradients_fails(
    network: Subject, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    found = checked(wrapped(network, wrap), condition("pgd:eps=4/255"))
    assert words(found)["falls"] == "fails"
    assert words(found)["noise"] == "undecided"
    assert "fails: accuracy falls to 0 with the radius" in found["warnings"].item()
    assert "gradients may be masked" in found["warnings"].item()


def test_a_black_box_that_is_stronger_is_seen(network: Subject) -> None:
    found = checked(wrapped(network, Quantised), condition("pgd:eps=32/255"))
    assert words(found)["black_box"] == "fails"


def test_the_batch_size_changes_nothing(network: Subject, honest: xr.Dataset) -> None:
    found = checked(network, condition("pgd:eps=4/255", batch_size=16))
    for name in ("correct", "control_accuracy"):
        np.testing.assert_array_equal(found[name].values, honest[name].values)


def test_some_of_the_samples_get_what_they_get_among_all(network: Subject, honest: xr.Dataset) -> None:
    """Every other one: their noise is their own, wherever they stand."""
    found = checked(network, condition("pgd:eps=4/255"), N // 2)
    np.testing.assert_array_equal(found["row"].values, 2 * np.arange(N // 2))
    np.testing.assert_array_equal(found["correct"].values, honest["correct"].values[:, ::2])


def test_without_the_package_the_black_box_is_left_out(
    network: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geomlab.data.attacks.standard.find_spec", lambda name: None)
    found = checked(network, condition("fgsm:eps=4/255", n=20), 20)
    assert words(found)["black_box"] == "not tested"
    assert "pip install 'geomlab[attacks]'" in found["said"].sel(check="black_box").item()
    assert np.isnan(found["control_accuracy"].sel(control=["fewer steps", "square"])).all()
    assert Sanity().parameters["queries"] == 0


@pytest.mark.parametrize(
    ("spec", "why"), [("pgd:eps=4/255,target=next", "one class only"), ("pgd:eps=0", "the radius is 0")]
)
def test_what_cannot_be_checked_says_why(network: Subject, spec: str, why: str) -> None:
    found = checked(network, condition(spec, n=8))
    assert set(words(found).values()) == {"not tested"}
    assert all(why in said for said in found["said"].values)
    assert found["n"].item() == 0


def test_a_network_that_knows_nothing_is_not_tested(network: Subject) -> None:
    inputs = condition("fgsm:eps=4/255", n=20).realise(network)
    wrong = replace(inputs, labels=(inputs.labels + 1) % 10, clean_labels=(inputs.labels + 1) % 10)
    found = Sanity()(network, condition("fgsm:eps=4/255", n=20), wrong)
    assert set(words(found).values()) == {"not tested"}
    assert "of 20 clean samples are right" in found["said"].values[0]


def test_costly_networks_get_fewer_samples_or_none(network: Subject) -> None:
    of = condition("pgd:eps=4/255")
    inputs = of.realise(network)
    a_sample = flops(network, inputs.clean[:1]) * Sanity().passes(of.shift)
    assert Sanity(N, 30.5 * a_sample).count(network, of, inputs) == 30
    assert Sanity(10, 30.5 * a_sample).count(network, of, inputs) == 10
    assert Sanity(N, (FEWEST - 0.5) * a_sample).count(network, of, inputs) == 0
    found = Sanity(N, a_sample)(network, of, inputs)
    assert "use a larger --budget, or a GPU" in found["said"].values[0]


def test_operations_are_counted() -> None:
    """2·72·3 of a linear map of 72 numbers to 3 classes."""
    subject = models.subject(models.softmax_regression())
    assert flops(subject, torch.rand((1, *models.SHAPE), dtype=torch.float64)) == 2 * 72 * 3


def test_it_is_of_adversarial_conditions_only(network: Subject) -> None:
    clean = condition("clean", n=8)
    inputs: Batches = clean.realise(network)
    with pytest.raises(TypeError, match="expected an adversarial condition, got clean"):
        Sanity()(network, clean, inputs)
