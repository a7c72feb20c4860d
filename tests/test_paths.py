"""`--path`: from the command line to the figure, and what is refused before anything is written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import geomlab
from geomlab.plots import paths
from tests import cli, factories, models

pytestmark = pytest.mark.usefixtures("unfiled")

OPTIONS = (
    *("--model", "tests.factories:model", "--data", "tests.factories:shifted", *cli.QUICK),
    *("--condition", "domain:other", "--measure", "accuracy"),
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network of the form of `weights`."""
    path = tmp_path_factory.mktemp("start") / "start.pt"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.save(factories.model().state_dict(), path)
    return path


def analyze(weights: Path, out: Path, *more: object) -> cli.Result:
    return cli.run("analyze", weights, *OPTIONS, "--out", out, *more)


def test_from_the_command_line_to_the_figure(weights: Path, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--reference", start, "--path", "linear", "--path", "bezier:steps=3,cka=yes")
    result = analyze(weights, out, *asked)
    assert result.returncode == 0, result.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["paths"] == ["linear", "bezier:steps=3,cka=yes"]
    found = summary["paths"]["clean"]
    assert list(found["along"]) == ["linear", "bezier:steps=3"]
    assert (found["n"], found["n_trained"], len(found["t"])) == (10, 10, 21)
    curve = found["along"]["bezier:steps=3"]
    assert curve["barrier"]["low"] <= curve["barrier"]["value"] <= curve["barrier"]["high"]
    assert (curve["training"]["steps"], curve["training"]["left_out"]) == (3, 0)
    assert curve["cka_to_start"][0] == pytest.approx(1) == curve["cka_to_end"][-1]
    assert not {"training", "cka_to_start"} & found["along"]["linear"].keys()
    assert found["distance"] == pytest.approx(summary["drift"]["absolute"])
    assert not [line for line in summary["warnings"] if "paths" in line]
    assert len((out / "tables" / "paths.csv").read_text().splitlines()) == 5
    assert "From the reference, start, to this network" in (out / "report.html").read_text()
    title = paths.figure(geomlab.open(out)["paths"]).get_suptitle()
    assert "curves trained on 10 other, clean samples" in title
    assert not (out / ".tiles").exists()

    before = cli.snapshot(out / "results")
    assert analyze(weights, out, *asked, "--resume").returncode == 0
    assert cli.snapshot(out / "results") == before
    cli.refused(analyze(weights, out, *asked[:4], "--resume"), "was begun with paths")
    cli.refused(analyze(weights, out, *asked[:2], "--resume"), "was begun with paths", "(now None)")


def test_without_a_path_nothing_is_said_of_paths(weights: Path, start: Path, tmp_path: Path) -> None:
    assert analyze(weights, tmp_path / "out", "--reference", start).returncode == 0
    for path in tmp_path.rglob("*.json"):
        assert '"paths"' not in path.read_text()
    assert not list(tmp_path.rglob("paths*"))


def test_an_interpolation_ends_in_the_losses_of_both_checkpoints(
    weights: Path, start: Path, tmp_path: Path
) -> None:
    asked = ("--reference", start, "--path", "linear")
    assert analyze(weights, tmp_path / "out", *asked).returncode == 0
    assert analyze(start, tmp_path / "start").returncode == 0
    here, there = (geomlab.open(tmp_path / name) for name in ("out", "start"))
    along = here["paths"]["loss"].isel(checkpoint=0, path=0).sel(condition=["clean", "domain:other"])
    for t, own in ((1, here), (0, there)):
        exact = own["accuracy"]["mean_loss"].isel(checkpoint=0).sel(condition=["clean", "domain:other"])
        np.testing.assert_array_equal(along.sel(t=t), exact)


def test_paths_that_cannot_be_are_refused_in_one_line(weights: Path, start: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save(models.convolution().state_dict(), other)
    reference = ("--reference", start)
    for options, said in (
        (("--path", "linear"), ("--path leads from the reference", "give --reference")),
        ((*reference, "--path", "curved"), ("no path 'curved'; there are linear, piecewise",)),
        ((*reference, "--path", "bezier", "--path", "bezier:cka=yes"), ("a path is given twice",)),
        ((*reference, "--path", "bezier:steps=0"), ("steps must be a whole number of at least 1",)),
        ((*reference, "--path", "bezier", "--samples", "3"), ("3 clean samples, half of", "--samples 4")),
        ((*reference, "--path", "linear:cka=yes", "--samples", "6"), ("too few; use --samples 8",)),
        (("--reference", other, "--path", "linear"), ("other.pt",)),
    ):
        cli.refused(analyze(weights, tmp_path / "out", *options), *said)
        assert not (tmp_path / "out").exists()
