"""`--attack anew`: from the command line to the figure's title."""

import json
from pathlib import Path

import numpy as np
import pytest

import geomlab
from geomlab.plots import line
from tests import cli

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = (
    *("--model", "tests.factories:model", "--data", "tests.factories:data", *cli.QUICK),
    *("--condition", "pgd:eps=0.1,steps=3", "--measure", "landscape"),
)


def test_each_mode_is_named_and_a_resume_keeps_it(weights: Path, tmp_path: Path) -> None:
    fixed, anew = tmp_path / "fixed", tmp_path / "anew"
    assert cli.run("analyze", weights, *OPTIONS, "--out", fixed).returncode == 0
    assert cli.run("analyze", weights, *OPTIONS, "--attack", "anew", "--out", anew).returncode == 0
    held, moved = (json.loads((out / "summary.json").read_text())["landscape"] for out in (fixed, anew))
    assert held["pgd"]["inputs"] == "inputs realised at the centre and held fixed" == moved["clean"]["inputs"]
    assert moved["pgd"]["inputs"] == "attack recomputed at each point"
    assert moved["clean"]["line"] == held["clean"]["line"]
    here, there = (np.array(one["pgd"]["line"]["loss"]) for one in (held, moved))
    middle = len(here) // 2
    assert there[middle] == here[middle]
    assert there[[0, -1]].sum() > here[[0, -1]].sum()
    assert "by_hessian" not in moved["pgd"]["curvature"]
    assert "by_hessian" in moved["clean"]["curvature"]

    title = line.figure(geomlab.open(anew)["landscape"]).get_suptitle()
    assert "pgd: attack recomputed at each point" in title
    assert "pgd: inputs realised at" in line.figure(geomlab.open(fixed)["landscape"]).get_suptitle()

    refused = cli.run("analyze", weights, *OPTIONS, "--out", anew, "--resume")
    cli.refused(refused, "was begun with attack anew (now fixed)")


def test_another_mode_is_refused(weights: Path, tmp_path: Path) -> None:
    result = cli.run("analyze", weights, *OPTIONS, "--attack", "both", "--out", tmp_path / "out")
    cli.refused(result, "no attack 'both'; there are fixed, anew")
