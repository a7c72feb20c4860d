"""Batches fall by themselves where memory runs out, and the results are the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import geomlab
from geomlab.measure import Measurement
from geomlab.measure.features import FeatureGeometry
from geomlab.measure.forecast import Forecast
from geomlab.realised import BatchLimit
from geomlab.subject import Subject
from tests import cli, factories, misbehaving, models

pytestmark = pytest.mark.usefixtures("undrawn")

LIMITED = """
import resource, sys
import torch
from geomlab.cli import main
import geomlab.study
torch.set_num_threads(1)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[1]) * 2**20, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def saved(folder: Path, network: torch.nn.Module) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
    torch.save(network.state_dict(), folder / "net.pt")
    return folder / "net.pt"


def options(model: str, *more: object) -> list[object]:
    data = ("--data", "tests.factories:data")
    return ["--model", f"tests.factories:{model}", *data, "--budget", "quick", "--samples", "20", *more]


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    for time in ("seconds", "hvps"):
        for one in found.get("curvature", {}).values():
            one.pop(time, None)
    return found


def close(a: Any, b: Any) -> bool:
    """Whether two summaries are alike to rounding."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, rel=1e-6, abs=1e-9)
    return bool(a == b)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process is Linux's")
def test_within_a_limit_of_the_process_the_results_are_the_same(tmp_path: Path) -> None:
    """320 MiB at once do not fit, 160 do."""
    net = saved(tmp_path, factories.hungry())
    given = options("hungry", "--measure", "accuracy", "--condition", "clean", "--condition", "fgsm")
    called = [sys.executable, "-c", LIMITED, "230", "analyze", net, *given, "--out", tmp_path / "small"]
    done = subprocess.run(
        list(map(str, called)),
        cwd=cli.ROOT,
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain = cli.run("analyze", net, *given, "--out", tmp_path / "plain")
    assert plain.returncode == 0, plain.stderr
    small, large = summary(tmp_path / "small"), summary(tmp_path / "plain")
    told = small.pop("warnings")
    assert [text for text in told if "in batches of" in text and "instead of 20" in text]
    assert not [text for text in large.pop("warnings") if "batches" in text]
    for one in (small, large):
        one.pop("versions")
    assert close(small["conditions"], large["conditions"])


def test_a_measure_goes_on_in_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole study only what ran out is done again, and only that says so."""
    net = saved(tmp_path, factories.model())
    given = options("model", "--measure", "curvature,features", "--condition", "clean", "--dtype", "float64")
    assert cli.run("analyze", net, *given, "--out", tmp_path / "plain").returncode == 0
    extract, sizes = FeatureGeometry._extracted, []

    def greedy(self: FeatureGeometry, network: Subject, batches: Any, *more: Any) -> Any:
        sizes.append(batches.batch_size)
        if batches.batch_size > 8:
            raise torch.OutOfMemoryError("tried to allocate 80 GiB")
        return extract(self, network, batches, *more)

    monkeypatch.setattr(FeatureGeometry, "_extracted", greedy)
    assert cli.run("analyze", net, *given, "--out", tmp_path / "small").returncode == 0
    assert sizes == [256, 10, 5]
    found = geomlab.open(tmp_path / "small")
    said = {name: str(found[name]["warnings"].values.item()) for name in ("curvature", "features")}
    assert "in batches of 5 samples instead of 20" in said["features"]
    assert "batches of" not in said["curvature"]
    small, large = summary(tmp_path / "small"), summary(tmp_path / "plain")
    for name in ("conditions", "curvature", "features"):
        assert close(small.get(name, {}), large.get(name, {})), name


def test_a_forecast_makes_batches_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed."""
    sizes: list[int] = []

    def large(found: Forecast, measurement: Measurement, subject: Subject) -> bool:
        sizes.append(1)
        return len(sizes) <= 2

    monkeypatch.setattr("geomlab.study.too_large", large)
    given = options("model", "--measure", "curvature", "--condition", "clean")
    result = cli.run("analyze", saved(tmp_path, factories.model()), *given, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert any(
        "in batches of 5 samples instead of 20" in one for one in summary(tmp_path / "out")["warnings"]
    )


def test_looking_at_the_inputs_goes_on_in_smaller_batches(tmp_path: Path) -> None:
    given = options("model", "--measure", "accuracy", "--condition", "clean")
    given[1] = "tests.misbehaving:greedy"
    result = cli.run("analyze", saved(tmp_path, misbehaving.greedy()), *given, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (told,) = [text for text in summary(tmp_path / "out")["warnings"] if "in batches of" in text]
    assert "instead of 20" in told


def test_what_fails_for_another_reason_is_not_tried_again() -> None:
    tries = []

    def broken() -> None:
        tries.append(1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    subject = models.subject(models.softmax_regression())
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        BatchLimit().within(broken, subject, largest=8, where="here")
    assert len(tries) == 1


def test_a_limit_is_halved_to_single_samples() -> None:
    limit, taken = BatchLimit(), []

    def greedy() -> None:
        taken.append(limit.of(11))
        raise MemoryError

    subject = models.subject(models.softmax_regression())
    with pytest.raises(geomlab.errors.OutOfMemory, match="here: not enough memory for single samples"):
        limit.within(greedy, subject, largest=11, where="here")
    assert taken == [11, 6, 3, 2, 1]
    assert limit.said(1) is None
    assert limit.said(11) is not None
