"""`--trajectory`: from the command line to the table, and what is refused before anything is written."""

import json
from pathlib import Path

import pytest
import torch

from tests import cli, factories, models

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = (
    *("--model", "tests.factories:model", "--data", "tests.factories:data", *cli.QUICK),
    *("--measure", "landscape", "--direction", "pca:1", "--direction", "pca:2"),
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three networks, two of them with the same file name."""
    folder = tmp_path_factory.mktemp("nets")
    found = [folder / "last.pt", folder / "one" / "early.pt", folder / "two" / "early.pt"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for path in found:
            path.parent.mkdir(exist_ok=True)
            torch.save(factories.model().state_dict(), path)
    return found


def analyze(out: Path, nets: list[Path], *more: object) -> cli.Result:
    others = [word for net in nets[1:] for word in ("--trajectory", net)]
    return cli.run("analyze", nets[0], *others, *OPTIONS, "--out", out, *more)


def test_the_plane_through_three_checkpoints_and_where_they_are_on_it(
    nets: list[Path], tmp_path: Path
) -> None:
    result = analyze(tmp_path / "out", nets)
    assert result.returncode == 0, result.stderr
    landscape = json.loads((tmp_path / "out" / "summary.json").read_text())["landscape"]["clean"]
    waypoints = landscape["trajectory"]
    assert [one["name"] for one in waypoints] == ["one-early", "two-early"]
    assert max(abs(step) for one in waypoints for step in one["steps"]) == pytest.approx(1)
    assert all(one["off_plane"] < 1e-7 * one["distance"] for one in waypoints)
    assert len((tmp_path / "out" / "tables" / "trajectory.csv").read_text().splitlines()) == 3

    before = cli.snapshot(tmp_path / "out" / "results")
    assert analyze(tmp_path / "out", nets, "--resume").returncode == 0
    assert cli.snapshot(tmp_path / "out" / "results") == before
    cli.refused(analyze(tmp_path / "out", nets[:2], "--resume"), "was begun with trajectory")


def test_other_networks_of_the_same_path_are_measured_anew(nets: list[Path], tmp_path: Path) -> None:
    some = [nets[0], tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, content in zip(some[1:], nets[1:], strict=True):
        path.write_bytes(content.read_bytes())
    assert analyze(tmp_path / "out", some).returncode == 0
    some[1].write_bytes(nets[2].read_bytes())
    some[2].write_bytes(nets[1].read_bytes())
    assert analyze(tmp_path / "out", some, "--resume").returncode == 0
    landscape = json.loads((tmp_path / "out" / "summary.json").read_text())["landscape"]["clean"]
    first, second = (torch.load(path, weights_only=True) for path in (some[0], some[1]))
    square = sum(float((first[name].double() - second[name].double()).square().sum()) for name in first)
    assert landscape["trajectory"][0]["distance"] == pytest.approx(square**0.5)


def test_networks_that_cannot_be_used_are_refused_in_one_line(nets: list[Path], tmp_path: Path) -> None:
    torch.save(models.convolution().state_dict(), tmp_path / "other.pt")
    (tmp_path / "no.pt").write_text("no")
    for others, said in (
        ((nets[1],), ("pca:2", "span 1 dimensions")),
        ((), ("direction 'pca'", "give --trajectory")),
        ((nets[1], nets[1]), ("early.pt", "twice")),
        ((nets[1], tmp_path / "nowhere.pt"), ("nowhere.pt", "No such file")),
        ((nets[1], tmp_path / "no.pt"), ("no.pt",)),
        ((nets[1], tmp_path / "other.pt"), ("other.pt",)),
    ):
        cli.refused(analyze(tmp_path / "out", [nets[0], *others]), *said)
        assert not (tmp_path / "out").exists()
