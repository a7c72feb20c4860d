"""The bound of a study: derived from its cells, and anew when they change."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import geomlab
from geomlab.errors import UserError
from tests import cli, factories

pytestmark = pytest.mark.usefixtures("undrawn")
OPTIONS: dict[str, Any] = {
    "model": "tests.factories:model",
    "data": "tests.factories:shifted",
    "measures": ["accuracy", "curvature", "features"],
    "budget": "quick",
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to come from."""
    path = tmp_path_factory.mktemp("start") / "start.pt"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.save(factories.model().state_dict(), path)
    return path


def analyse(weights: Path, out: Path, conditions: Sequence[str], **options: Any) -> geomlab.results.Results:
    return geomlab.analyze(weights, out=out, conditions=conditions, **{**OPTIONS, **options})


def test_a_condition_or_an_n_that_is_added_makes_the_bound_anew_and_nothing_else(
    weights: Path, start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = analyse(weights, out, ["clean", "domain:dark"], reference=start)["bound"].isel(checkpoint=0)
    assert first["pair"].values.tolist() == ["clean – domain:dark"]
    before = cli.snapshot(out / "results")
    results = analyse(weights, out, ["domain:other"], reference=start, resume=True)
    after = cli.snapshot(out / "results")
    assert {name: after[name] for name in before} == before
    assert len([name for name in after if name.startswith("bound--")]) == 2
    found = results["bound"].isel(checkpoint=0)
    pairs = ["clean – domain:dark", "clean – domain:other", "domain:dark – domain:other"]
    assert found["pair"].values.tolist() == pairs
    assert found["pair_paired"].values.tolist() == [1, 0, 0]
    assert found["distance"].values[0] == first["distance"].values[0]
    last = results["features"].isel(checkpoint=0).sel(layer="features")
    np.testing.assert_allclose(found["distance"].values[:2], last["discrepancy"].values[1:], rtol=1e-5)
    np.testing.assert_allclose(
        found["distance_stderr"].values[:2], last["discrepancy_stderr"].values[1:], rtol=1e-4
    )
    drift = results["drift"].isel(checkpoint=0)["absolute"].item()
    traces = results["curvature"].isel(checkpoint=0)["trace"]
    np.testing.assert_array_equal(found["trace"].values, traces.values)
    assert found["sharpest"].item() == traces["condition"].values[traces.values.argmax()]
    assert found["drift"].item() == drift > 0
    manifest = json.loads((out / "study.json").read_text())
    (planned,) = [cell for cell in manifest["cells"] if cell["measurement"] == "bound"]
    assert planned["condition"] is None
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["bound"]["distances"]) == pairs
    # The samples of training may be told later; this takes no other cell either.
    told = analyse(weights, out, [], reference=start, resume=True, trained_on=50)["bound"].isel(checkpoint=0)
    assert len(cli.snapshot(out / "results")) == len(after) + 1
    assert found["trained_on"].values.tolist() == [100, 10_000, 1_000_000]
    assert told["trained_on"].values.tolist() == [50]
    np.testing.assert_array_equal(told["distance"].values, found["distance"].values)


@pytest.mark.parametrize(
    "options", [{"reference": False}, {"measures": ["curvature"]}, {"measures": ["features", "accuracy"]}]
)
def test_without_all_that_it_is_of_there_is_no_bound(
    options: dict[str, Any], weights: Path, start: Path, tmp_path: Path
) -> None:
    reference = None if options.pop("reference", True) is False else start
    results = analyse(weights, tmp_path / "out", ["clean"], reference=reference, samples=9, **options)
    assert "bound" not in results
    assert "bound" not in json.loads((tmp_path / "out" / "summary.json").read_text())


def test_too_few_samples_of_each_class_are_null_with_the_reason(
    weights: Path, start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    analyse(weights, out, ["clean", "domain:dark"], reference=start, samples=9, trained_on=50)
    summary = json.loads((out / "summary.json").read_text())
    bound = summary["bound"]
    assert bound["distances"]["clean – domain:dark"]["value"] is None
    assert bound["farthest"] is None
    assert bound["at"][0]["discrepancy"] is None
    assert bound["at"][0]["largest"] == []
    assert bound["at"][0]["proximity"] == pytest.approx(bound["at"][0]["sharpness"])
    said = "bound: (C) of clean – domain:dark is not defined: expected n >= 4 samples of some class on both sides"
    assert any(text.startswith(said) for text in summary["warnings"])
    assert any(text.startswith("bound.distances.clean – domain:dark: ") for text in summary["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": None}, "--trained-on is of the bound, whose prior is the reference; give --reference"),
        ({"trained_on": 0}, "expected --trained-on of at least 1 sample, got 0"),
        ({"measures": ["curvature"]}, "--trained-on changes nothing of curvature; add features to --measure"),
    ],
)
def test_samples_of_training_that_change_nothing_are_refused(
    options: dict[str, Any], message: str, weights: Path, start: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        analyse(weights, tmp_path, ["clean"], **{"reference": start, "trained_on": 50, **options})
    assert not list(tmp_path.iterdir())


def test_the_command_line_hands_the_samples_on(weights: Path, start: Path, tmp_path: Path) -> None:
    options = [f"--{name}={value}" for name, value in OPTIONS.items() if name not in ("measures",)]
    result = cli.run(
        "analyze", weights, *options, "--reference", start, "--measure", "accuracy", "--trained-on", 50,
        "--out", tmp_path,
    )  # fmt: skip
    cli.refused(result, "--trained-on changes nothing of accuracy; add curvature to --measure")
