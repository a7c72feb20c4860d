import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geomlab.report.summary import summarise
from geomlab.results import Results, open_results
from tests.synthetic import BLOCK_LAYERS, CONDITIONS, LAYERS, N, write_folder


def keys(content: dict[str, Any]) -> set[str]:
    return set(content)


@pytest.fixture(scope="module")
def summary(one: Results) -> dict[str, Any]:
    return summarise(one)


def test_every_key_of_the_contract_is_there(summary: dict[str, Any]) -> None:
    top = "schema checkpoint reference seed versions conditions curvature landscape features drift warnings"
    assert set(top.split()) <= keys(summary)
    assert {"path", "sha256", "architecture"} <= keys(summary["checkpoint"])
    assert summary["schema"] == 1
    for condition in CONDITIONS:
        assert {"n", "accuracy", "loss", "sha256"} <= keys(summary["conditions"][condition])
        curvature = summary["curvature"][condition]
        wanted = "params dim eigenvalues residuals status trace frobenius hvps seconds anisotropy layers"
        assert set(wanted.split()) <= keys(curvature)
        assert keys(curvature["trace"]) == keys(curvature["frobenius"]) == {"value", "stderr", "low", "high"}
        assert {"dim", "trace", "stderr", "kappa"} <= keys(curvature["layers"][LAYERS[0]])
        assert {"alpha", "loss", "accuracy"} <= keys(summary["landscape"][condition]["line"])
        assert {"alpha", "beta", "loss"} <= keys(summary["landscape"][condition]["plane"])
        measures = "cka_to_clean gram_drift centroid_cosine lid delta_lid gram_volume layers"
        assert set(measures.split()) <= keys(summary["features"][condition])
        assert {"cka", "gram_drift", "procrustes"} <= keys(summary["features"]["reference"][condition])
    assert {"relative", "per_layer"} <= keys(summary["drift"])


def test_numbers_are_those_of_the_cells(summary: dict[str, Any], one: Results) -> None:
    pgd = one["curvature"].sel(checkpoint="grace-s0", condition="pgd")
    written = summary["curvature"]["pgd"]
    assert written["eigenvalues"] == pgd["eigenvalue"].values.tolist()
    assert written["hvps"] == 118
    assert written["dim"] == int(pgd["dim"])
    assert isinstance(written["dim"], int)
    assert written["anisotropy"]["layer_gini"] == pytest.approx(
        {"value": 0.61, "stderr": 0.02, "low": 0.57, "high": 0.65}
    )
    trace = written["trace"]
    assert trace["low"] < trace["value"] < trace["high"]
    assert trace["high"] - trace["value"] == pytest.approx(2.0452 * trace["stderr"], rel=1e-4)  # 30 probes
    layer = pgd.sel(layer=LAYERS[5])
    assert written["layers"][LAYERS[5]]["kappa"] == layer["layer_kappa"].item()
    assert written["layers"][LAYERS[5]]["stderr"] == layer["layer_trace_stderr"].item()
    features = one["features"].sel(checkpoint="grace-s0", condition="pgd", layer="features")
    assert summary["features"]["pgd"]["cka_to_clean"] == features["cka_to_clean"].item()
    assert summary["features"]["pgd"]["cka_to_clean_stderr"] == features["cka_to_clean_stderr"].item()
    assert list(summary["features"]["pgd"]["layers"]) == BLOCK_LAYERS
    assert summary["features"]["reference"]["pgd"]["procrustes"] == features["reference_procrustes"].item()
    assert summary["conditions"]["clean"]["n"] == N
    assert summary["drift"]["relative"] == 0.093
    assert list(summary["drift"]["per_layer"]) == LAYERS


def test_the_plane_is_alpha_by_beta(summary: dict[str, Any], one: Results) -> None:
    plane = summary["landscape"]["clean"]["plane"]["loss"]
    cell = one["landscape"].sel(checkpoint="grace-s0", condition="clean")["plane_loss"]
    assert plane[2][7] == cell.isel(alpha=2, beta=7).item()


def test_what_is_not_finite_is_null_and_named(summary: dict[str, Any]) -> None:
    json.dumps(summary, allow_nan=False)
    assert summary["landscape"]["pgd"]["plane"]["loss"][0][0] is None
    assert "landscape.pgd.plane.loss: 6 numbers are not finite, written as null" in summary["warnings"]
    assert summary["features"]["clean"]["gram_volume"] is None
    assert any(
        line.startswith("features.{clean,pgd,") and ".gram_volume: 5" in line for line in summary["warnings"]
    )


def test_warnings_of_cells_are_said_once_with_their_conditions(summary: dict[str, Any]) -> None:
    degenerate = [line for line in summary["warnings"] if "degenerate" in line]
    assert degenerate == [f"features ({', '.join(CONDITIONS)}): the Gram volume of features is degenerate"]
    assert "curvature (pgd): 2 of 10 eigenvalues did not converge" in summary["warnings"]


def test_two_summaries_are_equal(summary: dict[str, Any], one_folder: Path) -> None:
    assert json.dumps(summarise(open_results(one_folder))) == json.dumps(summary)


def test_an_interrupted_run_says_what_is_missing(tmp_path: Path) -> None:
    gone = [("curvature", "pgd"), ("curvature", "fgsm"), ("features", "pgd")]
    summary = summarise(
        open_results(write_folder(tmp_path, measurements=["curvature", "features"], without=gone))
    )
    assert "pgd" not in summary["curvature"]
    assert "clean" in summary["curvature"]
    expected = "curvature (pgd, fgsm): not measured yet; run geomlab analyze again with --resume"
    assert expected in summary["warnings"]


def test_without_accuracy_or_a_reference_the_keys_stay(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, measurements=["features"], reference=False)
    summary = summarise(open_results(folder))
    assert summary["conditions"]["pgd"] == {
        **{"n": N, "accuracy": None, "loss": None, "sha256": None},
        **{"spec": "pgd", "kind": "adversarial"},
    }
    assert "accuracy was not measured: conditions.*.accuracy, loss and sha256 are null" in summary["warnings"]
    assert summary["curvature"] == summary["landscape"] == summary["features"]["reference"] == {}
    assert summary["drift"]["relative"] is None
    assert summary["reference"] is None


def test_a_folder_without_any_cell_has_a_summary(tmp_path: Path) -> None:
    everything = [(m, c) for m in ("accuracy", "curvature") for c in CONDITIONS]
    folder = write_folder(
        tmp_path, measurements=["accuracy", "curvature"], reference=False, without=everything
    )
    summary = summarise(open_results(folder))
    assert summary["conditions"]["clean"]["accuracy"] is None
    assert any(line.startswith("accuracy (clean, pgd") for line in summary["warnings"])


def test_one_of_several_checkpoints(two: Results) -> None:
    assert summarise(two, "grace-s0")["checkpoint"]["name"] == "grace-s0"
    assert np.isfinite(summarise(two)["curvature"]["clean"]["trace"]["value"])
    assert not any(math.isinf(x) for x in summarise(two)["curvature"]["clean"]["eigenvalues"])


def test_paths_are_there_with_what_was_asked_for(summary: dict[str, Any], one: Results) -> None:
    line, curve = summary["paths"]["pgd"]["along"].values()
    cell = one["paths"].sel(checkpoint="grace-s0", condition="pgd", path="bezier:steps=200")
    assert curve["loss"] == cell["loss"].values.tolist()
    assert curve["barrier"] == {
        "value": cell["barrier"],
        "low": cell["barrier_low"],
        "high": cell["barrier_high"],
    }
    assert curve["training"]["left_out"] == 3
    assert keys(curve) - keys(line) == {
        "training",
        *(f"cka_to_{x}" for x in ("start", "start_stderr", "end", "end_stderr")),
    }
    assert not [line for line in summary["warnings"] if line.startswith("paths")]


def test_numbers_of_paths_that_are_not_finite_are_named_together(one: Results) -> None:
    data = one["paths"].copy(deep=True)
    data["relative_length"].loc[{"condition": ["clean", "pgd"]}] = np.nan
    changed = summarise(Results(one.folder, one.manifests, {**one.data, "paths": data}))
    said = "paths.{clean,pgd}.along.*.relative_length: 4 numbers are not finite, written as null"
    assert said in changed["warnings"]


def test_sanity_checks_are_there_with_their_numbers(summary: dict[str, Any]) -> None:
    assert set(summary["sanity"]) == {"pgd", "fgsm"}
    found = summary["sanity"]["fgsm"]
    assert {check: one["verdict"] for check, one in found["checks"].items()} == {
        "falls": "fails",
        "noise": "undecided",
        "steps": "not tested",
        "black_box": "fails",
    }
    assert "p" not in found["checks"]["steps"]
    assert found["checks"]["black_box"]["p"] == 1e-9
    assert found["accuracy"] == [0.97, 0.95, 0.9, 0.8, 0.6, 0.1]
    assert found["eps"][-1] == 1
    assert "fewer steps" not in found["controls"]
    assert found["controls"]["square"]["value"] == 0.5


def test_checks_without_numbers_have_none(one: Results) -> None:
    data = one["sanity"].copy(deep=True)
    data["n"].loc[{"condition": "pgd"}] = 0
    found = summarise(Results(one.folder, one.manifests, {**one.data, "sanity": data}))["sanity"]["pgd"]
    assert set(found) == {"checks", "norm", "n"}
