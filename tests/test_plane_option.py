"""`--plane`: from the command line to the figure's title, killed and resumed."""

import json
import time
from pathlib import Path

import pytest

import geomlab
from geomlab.plots import plane, surface
from tests import cli

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = (
    *("--model", "tests.factories:model", "--data", "tests.factories:data", *cli.QUICK),
    *("--condition", "pgd:eps=0.1,steps=3", "--measure", "landscape"),
)


def test_an_adaptive_plane_says_what_it_is_and_goes_on_where_it_was_killed(
    weights: Path, tmp_path: Path
) -> None:
    adaptive = (*OPTIONS, "--plane", "adaptive:error=0.01")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert cli.run("analyze", weights, *adaptive, "--out", whole).returncode == 0
    found = json.loads((whole / "summary.json").read_text())["landscape"]
    for one in found.values():
        assert one["plane"]["status"] == "reached"
        assert one["plane"]["check_error"] <= one["plane"]["error"] <= one["plane"]["tolerance"] == 0.01
        assert one["plane"]["points"] == found["clean"]["plane"]["points"] < 500
        assert len(one["plane"]["loss"]) == len(one["plane"]["alpha"]) == 65
    landscape = geomlab.open(whole)["landscape"]
    points, error = found["clean"]["plane"]["points"], max(one["plane"]["error"] for one in found.values())
    said = f"plane: {points} points measured (dots), interpolated with error ≤ {error:.2g} (nats up to"
    assert said in plane.figure(landscape).get_suptitle()
    assert said in str(surface.interactive(landscape).layout.title.text)
    dots = [
        trace
        for trace in surface.interactive(landscape).data
        if "scatter" in trace.type and trace.mode == "markers"
    ]
    assert [len(trace.x) for trace in dots] == [points, points, 1, 1]  # and a mark on each

    process = cli.start("analyze", weights, *adaptive, "--out", out)
    until = time.monotonic() + 120
    while len(list(out.glob(".tiles/*/[0-9]*.npz"))) < 5 and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    cli.refused(
        cli.run("analyze", weights, *OPTIONS, "--out", out, "--resume"), "was begun with plane adaptive"
    )
    assert cli.run("analyze", weights, *adaptive, "--out", out, "--resume").returncode == 0
    after, before = (
        {path.name: path.read_bytes() for path in folder.glob("results/*.nc")} for folder in (out, whole)
    )
    assert after == before


def test_results_of_before_there_was_another_plane_go_on(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.run("analyze", weights, *OPTIONS, "--out", out).returncode == 0
    before = cli.snapshot(out / "results")
    manifest = json.loads((out / "study.json").read_text())
    del manifest["settings"]["plane"]
    (out / "study.json").write_text(json.dumps(manifest))
    assert cli.run("analyze", weights, *OPTIONS, "--out", out, "--resume").returncode == 0
    assert cli.snapshot(out / "results") == before
    plain = plane.figure(geomlab.open(out)["landscape"]).get_suptitle()
    assert "measured (dots)" not in plain


def test_another_plane_is_refused(weights: Path, tmp_path: Path) -> None:
    for text, said in (("fine", "no plane 'fine'"), ("adaptive:error=-1", "error must be a number")):
        result = cli.run("analyze", weights, *OPTIONS, "--plane", text, "--out", tmp_path / "out")
        cli.refused(result, said)
