"""A run that is cut short goes on where it stopped; the same command gives the same numbers."""

import contextlib
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import geomlab
from geomlab.errors import UserError
from tests import cli

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = (
    *("--model", "tests.factories:model", "--data", "tests.factories:shifted", "--budget", "quick"),
    *("--condition", "clean", "--condition", "pgd:eps=0.1", "--condition", "domain:other"),
)
ALL = (*OPTIONS, "--layers", "^1$")  # every measure; the features of all layers would take most of the time


def summary(folder: Path) -> Any:
    """`summary.json` without its times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(entry) for key, entry in value.items() if key != "seconds"}
        return value

    return timeless(json.loads((folder / "summary.json").read_text()))


@pytest.fixture(scope="module")
def whole(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run that was left alone."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = cli.run("analyze", weights, *ALL, "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def cut_short(weights: Path, out: Path, sent: signal.Signals) -> tuple[int, str]:
    """Start a run, and send it a signal once it has stored a few cells."""
    process = cli.start("analyze", weights, *ALL, "--out", out)
    until = time.monotonic() + 120
    while len(list(out.glob("results/*.nc"))) < 3 and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


# SIGTERM ends a process as SIGKILL does, unless something catches it.
@pytest.mark.parametrize(
    "sent", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_only_what_is_missing_is_computed(
    sent: signal.Signals, weights: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, stderr = cut_short(weights, out, sent)
    assert status != 0
    if sent == signal.SIGINT:
        assert status == 130
        assert stderr.splitlines() == ["geomlab: interrupted; --resume (in place of any --overwrite) goes on"]
    before = cli.snapshot(out / "results")
    cells = {name for name in before if name.endswith(".nc") and not name.startswith(".")}
    assert 3 <= len(cells) < len(list((whole / "results").glob("*.nc")))
    again = cli.run("analyze", weights, *ALL, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    after = cli.snapshot(out / "results")
    assert {name: after[name] for name in cells} == {name: before[name] for name in cells}
    assert summary(out) == summary(whole)


def test_a_landscape_goes_on_with_the_tiles_it_has(weights: Path, tmp_path: Path) -> None:
    """Killed between tiles; what was there is not written again, and the cells are the same to the byte."""
    options = (*OPTIONS, "--measure", "landscape")
    assert cli.run("analyze", weights, *options, "--out", tmp_path / "whole").returncode == 0
    out = tmp_path / "out"
    process = cli.start("analyze", weights, *options, "--out", out)
    until = time.monotonic() + 120
    while not list(out.glob(".tiles/*/[0-9]*.npz")) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    assert not list(out.glob("results/*.nc"))
    tiles = {path: path.stat().st_mtime_ns for path in out.glob(".tiles/*/[0-9]*.npz")}
    assert tiles
    resumed = cli.start("analyze", weights, *options, "--out", out, "--resume")
    while (out / ".tiles").exists() and resumed.poll() is None:
        for path, written in tiles.items():
            with contextlib.suppress(FileNotFoundError):  # they go when the cells are there
                assert path.stat().st_mtime_ns == written
        time.sleep(0.002)
    resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    assert not (out / ".tiles").exists()
    found, expected = (
        {path.name: path.read_bytes() for path in folder.glob("results/*.nc")}
        for folder in (out, tmp_path / "whole")
    )
    assert found == expected


def test_the_same_seed_gives_the_same_summary_and_another_does_not(
    weights: Path, whole: Path, tmp_path: Path
) -> None:
    cli.run("analyze", weights, *ALL, "--out", tmp_path / "same")
    assert summary(tmp_path / "same") == summary(whole)
    few = (*OPTIONS[:6], "--condition", "clean", "--measure", "curvature")
    cli.run("analyze", weights, *few, "--out", tmp_path / "other", "--seed", "1")
    one, other = (summary(folder)["curvature"]["clean"]["trace"] for folder in (whole, tmp_path / "other"))
    assert one != other


def test_the_batch_size_changes_nothing_but_rounding(weights: Path, whole: Path, tmp_path: Path) -> None:
    cli.run("analyze", weights, *ALL, "--out", tmp_path / "out", "--batch-size", "5")

    def close(a: Any, b: Any, where: str = "") -> None:
        if isinstance(a, dict):
            assert a.keys() == b.keys(), where
            for key in a:
                close(a[key], b[key], f"{where}.{key}")
        elif isinstance(a, list):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                close(x, y, f"{where}[{i}]")
        elif isinstance(a, float) and "residual" not in where:
            assert b == pytest.approx(a, rel=2e-2, abs=1e-4), where

    for part in ("conditions", "curvature", "landscape", "features"):
        close(summary(whole)[part], summary(tmp_path / "out")[part], part)


def test_what_is_there_needs_no_memory(
    weights: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it tried again: only what is missing is forecast."""
    out = shutil.copytree(whole, tmp_path / "out")
    monkeypatch.setattr("geomlab.measure.forecast.available_memory", lambda device: 1.0)
    options: dict[str, Any] = {
        "model": "tests.factories:model",
        "data": "tests.factories:shifted",
        "budget": "quick",
        "layers": "^1$",
        "out": out,
        "resume": True,
    }
    geomlab.analyze(weights, conditions=["clean"], **options)
    with pytest.raises(UserError, match=r"curvature of .* would take about"):
        geomlab.analyze(weights, conditions=["fgsm"], **options)


def test_a_damaged_cell_is_computed_anew(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = (*OPTIONS, "--measure", "accuracy", "--out", out)
    cli.run("analyze", weights, *options)
    first, second, *_ = sorted(out.glob("results/*.nc"))
    good = summary(out)
    first.write_bytes(first.read_bytes()[:500])
    second.write_bytes(b"garbage")
    result = cli.run("analyze", weights, *options, "--resume")
    assert result.returncode == 0, result.stderr
    assert summary(out) == good


def test_more_conditions_join_those_that_are_there(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ("analyze", weights, *OPTIONS[:6], "--measure", "accuracy", "--out", out)
    cli.run(*base, "--condition", "clean", "--condition", "pgd:eps=0.1")
    before = cli.snapshot(out / "results")
    result = cli.run(*base, "--resume", "--condition", "pgd:eps=0.2")
    assert result.returncode == 0, result.stderr
    assert before.items() <= cli.snapshot(out / "results").items()
    assert list(summary(out)["conditions"]) == ["clean", "pgd:eps=0.1", "pgd:eps=0.2"]
    assert len(summary(out)["conditions"]) == 3


def test_other_data_under_the_same_name_are_measured_anew(weights: Path, tmp_path: Path) -> None:
    """A cell is known by what the inputs are, not by what they are called."""
    root, out = tmp_path / "images", tmp_path / "out"
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (4, 4), (60 * number, 90, 30)).save(root / name / f"{number}.png")
    options = ("--model", "tests.factories:model", "--data", f"folder:{root}", "--measure", "accuracy")
    command = ("analyze", weights, *options, "--condition", "clean", "--condition", "pgd", "--out", out)
    assert cli.run(*command).returncode == 0
    first = summary(out)
    Image.new("RGB", (4, 4), (255, 255, 255)).save(root / "b" / "2.png")
    assert cli.run(*command, "--resume").returncode == 0
    assert summary(out) != first
    assert cli.run(*command[:-1], tmp_path / "anew").returncode == 0
    assert summary(out) == summary(tmp_path / "anew")


def test_clean_images_are_part_of_what_is_measured_under_a_shift(weights: Path, tmp_path: Path) -> None:
    """Features of a domain are compared with the clean ones: when those change, the domain's are old."""
    root, rng = tmp_path / "images", np.random.default_rng(0)

    def draw(domain: str) -> None:
        for name in ("a", "b", "c"):
            (root / domain / name).mkdir(parents=True, exist_ok=True)
            for number in range(5):
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / domain / name / f"{number}.png")

    draw("photo")
    draw("sketch")
    options = (
        "--model",
        "tests.factories:model",
        "--data",
        f"domains:{root},id=photo",
        "--measure",
        "features",
    )
    command = ("analyze", weights, *options, "--condition", "domain:sketch", "--out", tmp_path / "out")
    assert cli.run(*command).returncode == 0
    draw("photo")
    assert cli.run(*command, "--resume").returncode == 0
    assert cli.run(*command[:-1], tmp_path / "anew").returncode == 0
    assert summary(tmp_path / "out") == summary(tmp_path / "anew")


def test_data_that_do_not_repeat_are_refused(weights: Path, tmp_path: Path) -> None:
    command = ("--model", "tests.factories:model", "--data", "tests.misbehaving:augmented", "--out", tmp_path)
    result = cli.run("analyze", weights, *command, "--condition", "clean", "--measure", "accuracy")
    cli.refused(result, "gave other images when clean was read again", "random augmentation")


def test_the_same_weights_in_another_network_are_not_resumed(weights: Path, tmp_path: Path) -> None:
    command = ("--data", "tests.factories:data", "--measure", "accuracy", "--out", tmp_path)
    assert cli.run("analyze", weights, "--model", "tests.factories:model", *command).returncode == 0
    result = cli.run("analyze", weights, "--model", "tests.factories:with_relu", *command, "--resume")
    cli.refused(result, "holds results of another checkpoint, or of another --model")
