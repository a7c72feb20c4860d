"""Measures of hundreds of passes take fewer samples of a large network, the same on every machine, and say so."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from torch import nn

import geomlab
from geomlab.measure.affordable import FEWEST, affordable
from geomlab.measure.budget import BUDGETS
from geomlab.subject import Subject
from tests import factories, models

IMAGES = torch.rand(5, 3, factories.SIDE, factories.SIDE)
ONE = 2 * (
    48 * 6 + 6 * 3
)  # FLOP of the network of tests.factories: a multiplication and an addition a weight


def a_subject(network: nn.Module) -> Subject:
    return models.subject(network, dtype=torch.float32)


@pytest.mark.parametrize(
    ("samples", "taken"), [(64, 64), (127.9, 64), (4, 4), (3, FEWEST), (0.1, FEWEST), (inf, inf)]
)
def test_as_many_samples_are_taken_as_their_products_allow(samples: float, taken: float) -> None:
    assert affordable(a_subject(factories.model()), IMAGES, samples * ONE) == taken


class Scaled(nn.Module):
    """A parameter, and no product of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) * self.scale


def test_a_network_without_products_takes_all() -> None:
    assert affordable(a_subject(Scaled()), IMAGES, 1) == inf


def test_all_is_spent_where_no_sample_is_left_out() -> None:
    quick = replace(BUDGETS["quick"], work=8 * ONE)
    few, more = (quick.of(a_subject(factories.model()), IMAGES, count) for count in (8, 9))
    assert few == (quick, inf)
    assert (more[1], more[0].probes) == (8, quick.lighter["probes"])


@pytest.fixture
def results(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, geomlab.Results]:
    """At a budget for eight samples that saves nothing else, and where eight, or all, are asked for."""
    monkeypatch.setattr("geomlab.render.folder._write_figures", lambda *_: ())
    small = replace(BUDGETS["quick"], work=8 * ONE, lighter={})
    monkeypatch.setitem(BUDGETS, "quick", small)
    return {
        name: geomlab.analyze(
            weights,
            model="tests.factories:model",
            data="tests.factories:shifted",
            conditions=["clean", "pgd", "domain:other"],
            measures=["accuracy", "curvature", "landscape"],
            budget="quick",
            samples=samples,
            out=tmp_path / name,
        )
        for name, samples in {"budget": None, "eight": 8, "all": 24}.items()
    }


def test_what_is_left_is_as_if_it_were_asked_for(results: dict[str, geomlab.Results]) -> None:
    found = {name: json.loads((one.folder / "summary.json").read_text()) for name, one in results.items()}
    for one in found.values():
        for cell in one["curvature"].values():
            del cell["seconds"]
    budget, eight, whole = found["budget"], found["eight"], found["all"]
    assert budget["conditions"] == whole["conditions"]
    assert [one["n"] for one in budget["conditions"].values()] == [24, 24, 15]
    for family in ("curvature", "landscape"):
        assert budget[family] == eight[family]
        assert [one["n"] for one in budget[family].values()] == [8, 8, 8]


def test_of_a_costly_network_fewer_products_and_points_are_taken(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless a number of samples is asked for."""
    monkeypatch.setattr("geomlab.render.folder._write_figures", lambda *_: ())
    quick = BUDGETS["quick"]
    monkeypatch.setitem(BUDGETS, "quick", replace(quick, work=8 * ONE))
    numbers = {}
    for name, samples in {"budget": None, "asked for": 8}.items():
        found = geomlab.analyze(
            weights,
            model="tests.factories:model",
            data="tests.factories:shifted",
            conditions=["clean"],
            measures=["curvature", "landscape"],
            budget="quick",
            samples=samples,
            out=tmp_path / name,
        )
        landscape, probes = found["landscape"], found["curvature"]["probes"].item()
        numbers[name] = (probes, landscape.sizes["step"], landscape.sizes["alpha"])
    light = quick.lighter
    assert numbers["budget"] == (light["probes"], light["line_points"], light["plane_points"])
    assert numbers["asked for"] == (quick.probes, quick.line_points, quick.plane_points)
    assert light["probes"] < quick.probes


def test_it_is_said_where_samples_are_left_out(results: dict[str, geomlab.Results]) -> None:
    said = {
        (name, measurement, condition): "--samples N takes"
        in str(data["warnings"].sel(condition=condition).item())
        for name, one in results.items()
        for measurement, data in one.items()
        for condition in one.conditions
    }
    assert {key for key, there in said.items() if there} == {
        ("budget", measurement, condition)
        for measurement in ("curvature", "landscape")
        for condition in ("clean", "pgd", "domain:other")
    }
