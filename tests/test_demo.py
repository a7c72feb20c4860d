"""The main job on the embedded checkpoints: `geomlab demo` itself, then everything a user does with its folder."""

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import geomlab
from geomlab.data.embedded import checkpoint_path
from geomlab.output import Output
from geomlab.render import DRAWN
from tests import cli
from tests.test_imports import WITHOUT_TORCH

pytestmark = pytest.mark.slow  # minutes, as the demo takes: .ci/run runs it beside `make test`


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of the demo."""
    out = tmp_path_factory.mktemp("demo") / "out"
    start = time.monotonic()
    process = cli.start("demo", "--out", out)
    stdout, stderr = process.communicate(timeout=900)
    assert process.returncode == 0, stderr
    assert stderr == ""
    print(f"demo: {time.monotonic() - start:.0f} s")
    return out, stdout


def test_ends_with_a_table_and_the_path_of_the_report(demo: tuple[Path, str]) -> None:
    out, stdout = demo
    for word in ("zero-shot", "ft", "pgd", "domain:sketch", "accuracy", "λmax", "±"):
        assert word in stdout
    last = stdout.splitlines()[-1]
    assert last == f"report: {out}/compare/report.html"
    assert Path(last.removeprefix("report: ")).stat().st_size < 10_000_000


def numbers(content: Any) -> list[float]:
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers(value)]
    return [content] if isinstance(content, float) else []


@pytest.mark.parametrize("name", ["zero-shot", "ft"])
def test_summary_keeps_the_contract(name: str, demo: tuple[Path, str]) -> None:
    found = json.loads((demo[0] / name / "summary.json").read_text())
    assert found["schema"] == 1
    assert {"path", "sha256", "architecture"} <= found["checkpoint"].keys()
    assert found["seed"] == 0
    assert "torch" in found["versions"]
    names = ["clean", "pgd", "domain:sketch"]
    assert list(found["conditions"]) == names
    for condition in names:
        assert {"n", "accuracy", "loss", "sha256"} <= found["conditions"][condition].keys()
        curvature = found["curvature"][condition]
        keys = {
            "params",
            "dim",
            "eigenvalues",
            "residuals",
            "status",
            "trace",
            "frobenius",
            "hvps",
            "seconds",
        }
        assert keys | {"anisotropy", "layers"} <= curvature.keys()
        assert curvature["eigenvalues"] == sorted(curvature["eigenvalues"], reverse=True)
        assert {"value", "stderr"} <= curvature["trace"].keys()
        total = sum(layer["trace"] for layer in curvature["layers"].values())
        assert total == pytest.approx(curvature["trace"]["value"], rel=1e-6)
        assert sum(layer["dim"] for layer in curvature["layers"].values()) == curvature["dim"]
        landscape = found["landscape"][condition]
        assert {"alpha", "loss", "accuracy"} <= landscape["line"].keys()
        assert {"alpha", "beta", "loss"} <= landscape["plane"].keys()
        centre = landscape["line"]["loss"][len(landscape["line"]["loss"]) // 2]
        assert centre == pytest.approx(found["conditions"][condition]["loss"], rel=1e-4)
        features = found["features"][condition]
        keys = {"cka_to_clean", "gram_drift", "centroid_cosine", "lid", "delta_lid", "gram_volume", "layers"}
        assert keys <= features.keys()
        assert {"cka", "gram_drift", "procrustes"} <= found["features"]["reference"][condition].keys()
    assert {"relative", "per_layer"} <= found["drift"].keys()
    assert all(map(math.isfinite, numbers(found)))


def test_shows_the_trade_off_of_fine_tuning(demo: tuple[Path, str]) -> None:
    before, after = (json.loads((demo[0] / n / "summary.json").read_text()) for n in ("zero-shot", "ft"))
    accuracy = {
        c: (before["conditions"][c]["accuracy"], after["conditions"][c]["accuracy"])
        for c in before["conditions"]
    }
    assert accuracy["clean"][0] < accuracy["clean"][1]
    assert accuracy["domain:sketch"][0] > accuracy["domain:sketch"][1] + 0.1
    assert max(accuracy["pgd"]) < 0.05
    assert before["drift"]["relative"] == 0
    assert 0.01 < after["drift"]["relative"] < 0.2
    reference = before["features"]["reference"]["clean"]
    assert (reference["cka"], reference["gram_drift"]) == pytest.approx((1, 0), abs=1e-6)


def test_redraws_without_torch_to_the_byte(demo: tuple[Path, str]) -> None:
    folder = demo[0] / "ft"
    drawn = [
        *folder.glob("figures/*"),
        *folder.glob("tables/*"),
        folder / "summary.json",
        folder / "report.html",
    ]
    before = {path: path.read_bytes() for path in drawn}
    assert {path.suffix for path in drawn} == {".pdf", ".png", ".csv", ".tex", ".json", ".html"}
    for path in drawn:
        path.unlink()
    code = WITHOUT_TORCH + cli.PROGRAM.format("geomlab")
    call = [sys.executable, "-c", code, "figures", str(folder)]
    done = subprocess.run(call, env=cli.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in drawn} == before


def test_the_report_reaches_for_no_network(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "compare" / "report.html").read_text()
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", outside_scripts)


@pytest.mark.usefixtures("unfiled")
def test_opens_in_a_notebook_and_compares_again(demo: tuple[Path, str], tmp_path: Path) -> None:
    results = geomlab.open(demo[0])
    assert results.checkpoints == ("zero-shot", "ft")
    assert "zero-shot, ft × clean" in repr(results)
    assert results["curvature"].sizes["condition"] == 3
    result = cli.run("compare", demo[0] / "zero-shot", demo[0] / "ft", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "report.html").exists()


def test_a_second_run_refuses_to_overwrite(demo: tuple[Path, str]) -> None:
    before = cli.snapshot(demo[0])
    cli.refused(cli.run("demo", "--out", demo[0]), "holds results already")
    assert cli.snapshot(demo[0]) == before


def test_all_that_was_written_could_be_overwritten(demo: tuple[Path, str]) -> None:
    """No file of geomlab's own is taken for another's."""
    files = {path.name for path in demo[0].rglob("figures/*")}
    assert len(files) == 48
    assert {"sanity.pdf", "sanity.png"} <= files
    Output.of(demo[0], [checkpoint_path(name) for name in ("zero-shot", "ft")], DRAWN).check(
        resume=False, overwrite=True
    )
    (demo[0] / "compare" / "tables" / "mine.csv").write_text("precious")
    cli.refused(
        cli.run("demo", "--out", demo[0], "--overwrite"),
        "files that are not geomlab's (compare/tables/mine.csv)",
    )
    (demo[0] / "compare" / "tables" / "mine.csv").unlink()


def test_info_of_an_embedded_checkpoint() -> None:
    result = cli.run("info", checkpoint_path("zero-shot"))
    assert result.returncode == 0
    assert "open_clip:custom" in result.stdout
