"""`--out`: what is in a folder already is nobody's to remove but with --overwrite, and then only what is ours."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from geomlab import output
from tests import cli, factories

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = (
    "--model",
    "tests.factories:model",
    "--data",
    "tests.factories:data",
    *cli.QUICK,
    "--measure",
    "accuracy",
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("nets")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in ("a", "b"):
            torch.save(factories.model().state_dict(), folder / f"{name}.pt")
    return folder / "a.pt", folder / "b.pt"


def analyze(out: Path, *more: object) -> cli.Result:
    return cli.run("analyze", *more, *OPTIONS, "--out", out)


def ok(result: cli.Result) -> None:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.fixture(scope="module")
def analysed(nets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the first network, to be copied."""
    out = tmp_path_factory.mktemp("analysed") / "out"
    ok(analyze(out, nets[0]))
    return out


@pytest.fixture
def done(analysed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(analysed, tmp_path / "out")


@pytest.mark.parametrize("flag", [(), ("--overwrite",), ("--resume",)])
@pytest.mark.parametrize("name", ["figures/mine.pdf", "results/raw.nc", "report.html", "ft/notes.txt"])
def test_a_folder_that_only_looks_like_ours(
    flag: tuple[str, ...], name: str, nets: tuple[Path, Path], tmp_path: Path
) -> None:
    """A paper has its own `figures/`."""
    precious = tmp_path / "paper" / name
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    cli.refused(analyze(tmp_path / "paper", nets[0], *flag), "holds other files", name.split("/")[0])
    assert precious.read_text() == "precious"


def test_files_among_results_stay_when_those_are_refused(nets: tuple[Path, Path], done: Path) -> None:
    (done / "notes.txt").write_text("precious")
    before = cli.snapshot(done)
    for flag in ("--overwrite", "--resume"):
        cli.refused(analyze(done, nets[0], flag), "holds other files (notes.txt)")
    assert cli.snapshot(done) == before


@pytest.mark.parametrize(
    "name", ["figures/mine.pdf", "tables/accuracy.txt", "results/raw.nc", "figures/old/spectrum.pdf"]
)
def test_files_between_ours_are_not_overwritten(name: str, nets: tuple[Path, Path], done: Path) -> None:
    """In our own folders too; where nothing is removed they are no hindrance."""
    (done / name).parent.mkdir(parents=True, exist_ok=True)
    (done / name).write_text("precious")
    before = cli.snapshot(done)
    shown = name if name.count("/") == 1 else "figures/old"
    cli.refused(analyze(done, nets[0], "--overwrite"), f"would remove files that are not geomlab's ({shown})")
    assert cli.snapshot(done) == before
    ok(analyze(done, nets[0], "--resume"))
    ok(cli.run("figures", done))
    assert (done / name).read_text() == "precious"


def test_hidden_files_of_the_desktop_and_of_a_kill_are_no_hindrance(
    nets: tuple[Path, Path], done: Path
) -> None:
    (done / ".DS_Store").write_text("icons")
    (done / ".writing-abc").write_text("half a summary")
    (done / "results" / ".writing-def").mkdir()
    (done / "results" / ".writing-def" / "cell.nc").write_text("half a cell")
    ok(analyze(done, nets[0], "--resume"))
    assert (done / ".DS_Store").exists()
    assert not [path for path in done.rglob("*") if ".writing" in path.name]


def test_one_checkpoint_after_two_and_two_after_one(nets: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ok(analyze(out, *nets))
    assert {path.name for path in out.iterdir()} == {"a", "b", "compare"}
    cli.refused(analyze(out, nets[0]), "holds results already")
    cli.refused(analyze(out, nets[0], "--resume"), "a checkpoint that is not among those given")
    ok(analyze(out, nets[0], "--overwrite"))
    assert not {"a", "b", "compare"} & {path.name for path in out.iterdir()}
    cli.refused(analyze(out, *nets, "--resume"), "not among those given")
    ok(analyze(out, *nets, "--overwrite"))
    assert {path.name for path in out.iterdir()} == {"a", "b", "compare"}


def test_results_that_lie_elsewhere_are_not_followed(
    nets: tuple[Path, Path], done: Path, tmp_path: Path
) -> None:
    """`results` as a link to another disk: with --overwrite the link goes, and what it points to stays."""
    (done / "results").rename(tmp_path / "elsewhere")
    (done / "results").symlink_to(tmp_path / "elsewhere")
    ok(analyze(done, nets[0], "--overwrite"))
    assert list((tmp_path / "elsewhere").glob("*.nc"))
    assert not (done / "results").is_symlink()


def tiring(out: Path, net: Path, flag: str) -> cli.Result:
    """A run that fails when it has begun."""
    model = ("--model", "tests.misbehaving:tiring", *OPTIONS[2:-1], "accuracy,curvature")
    return cli.run("analyze", net, *model, flag, "--out", out)


def test_overwritten_results_are_kept_until_the_new_ones_are_complete(
    nets: tuple[Path, Path], done: Path
) -> None:
    before = cli.snapshot(done)
    for _ in range(2):  # the beginning of a run that failed is nothing to set aside
        cli.refused(
            tiring(done, nets[0], "--overwrite"), "must be deterministic", f"are in {done / '.replaced'}"
        )
        assert cli.snapshot(done / ".replaced") == before
    aside = f"; the results from before are in {done / '.replaced'}"
    cli.refused(
        analyze(done, nets[1]), f"holds results already; use --resume, --overwrite or another --out{aside}"
    )
    cli.refused(analyze(done, nets[1], "--resume"), "holds results of another checkpoint", aside)
    ok(cli.run("figures", done))
    ok(analyze(done, nets[1], "--overwrite"))
    assert not (done / ".replaced").exists()
    assert json.loads((done / "study.json").read_text())["checkpoint"]["name"] == "b"


def test_a_killed_overwrite_goes_on_with_resume(nets: tuple[Path, Path], done: Path) -> None:
    """What was there before is let go when the new results are complete, and not before."""
    before = cli.snapshot(done)
    process = cli.start("analyze", nets[1], *OPTIONS[:-1], "accuracy,landscape", "--out", done, "--overwrite")
    until = time.monotonic() + 100
    while (
        not ((done / ".replaced").exists() and list(done.glob("results/*.nc"))) and time.monotonic() < until
    ):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert cli.snapshot(done / ".replaced") == before
    ok(cli.run("analyze", nets[1], *OPTIONS[:-1], "accuracy,landscape", "--out", done, "--resume"))
    assert not (done / ".replaced").exists()


def test_a_set_aside_that_fails_is_undone(
    nets: tuple[Path, Path], done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cli.snapshot(done)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "tables" and target.parent.name == ".replacing":
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        cli.refused(analyze(done, nets[1], "--overwrite"), "tables: cannot be moved", "Permission denied")
    assert cli.snapshot(done) == before


@pytest.mark.parametrize("moved", [("summary.json", "results"), output.OUTPUTS])
def test_a_set_aside_that_was_killed_is_undone(
    moved: tuple[str, ...], nets: tuple[Path, Path], done: Path
) -> None:
    cells = cli.snapshot(done / "results")
    (done / ".replacing").mkdir()
    for name in moved:
        if (done / name).exists():
            (done / name).rename(done / ".replacing" / name)
    cli.refused(analyze(done, nets[0]), "holds results already")
    ok(analyze(done, nets[0], "--resume"))
    assert cli.snapshot(done / "results") == cells
    assert not (done / ".replacing").exists()


def test_results_that_lie_aside_are_not_lost_unasked(nets: tuple[Path, Path], done: Path) -> None:
    """As when the first write of the new run failed: nothing but what was set aside is there."""
    (done.parent / "new").mkdir()
    done.rename(done.parent / "new" / ".replaced")
    for result in (analyze(done.parent / "new", nets[0]), cli.run("figures", done.parent / "new")):
        cli.refused(result, f"results from before are in {done.parent / 'new' / '.replaced'}")
    assert (done.parent / "new" / ".replaced" / "summary.json").exists()


def test_resume_and_overwrite_exclude_each_other(nets: tuple[Path, Path], done: Path) -> None:
    before = cli.snapshot(done)
    cli.refused(analyze(done, nets[0], "--resume", "--overwrite"), "give one of them")
    assert cli.snapshot(done) == before


DAMAGES = [
    *({"schema": "1"}, {"checkpoint": None}, {"settings": None}, {"cells": [{}]}, {"conditions": [{}]}),
    {"cells": [{"file": "../../secret.nc", "measurement": "accuracy", "condition": "clean"}]},
]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": 9}', *DAMAGES])
def test_a_damaged_manifest(content: str | dict[str, object], nets: tuple[Path, Path], done: Path) -> None:
    if isinstance(content, dict):
        content = json.dumps({**json.loads((done / "study.json").read_text()), **content})
    (done / "study.json").write_text(content)
    before = cli.snapshot(done)
    for result in (analyze(done, nets[0], "--resume"), cli.run("figures", done)):
        cli.refused(result, "study.json", "--overwrite")
    assert cli.snapshot(done) == before
    ok(analyze(done, nets[0], "--overwrite"))


def test_a_manifest_of_a_newer_version(nets: tuple[Path, Path], done: Path) -> None:
    manifest = json.loads((done / "study.json").read_text())
    (done / "study.json").write_text(json.dumps({**manifest, "schema": 9}))
    cli.refused(cli.run("figures", done), "written by a newer geomlab (schema 9); update geomlab")


def test_resume_without_conditions_goes_on_with_those_it_had(nets: tuple[Path, Path], done: Path) -> None:
    options = OPTIONS[: OPTIONS.index("--condition")]
    before = cli.snapshot(done / "results")
    ok(cli.run("analyze", nets[0], *options, "--out", done, "--resume"))
    assert cli.snapshot(done / "results") == before


def test_a_comparison_is_not_written_over_an_analysis(nets: tuple[Path, Path], tmp_path: Path) -> None:
    for net in nets:
        ok(analyze(tmp_path / net.stem, net))
    folders = (tmp_path / "a", tmp_path / "b")
    before = cli.snapshot(tmp_path)
    cli.refused(cli.run("compare", *folders, "--out", tmp_path / "a"), "holds results of geomlab analyze")
    cli.refused(cli.run("compare", *folders, "--out", tmp_path), "holds results of geomlab analyze")
    assert cli.snapshot(tmp_path) == before
    for _ in range(2):  # the same folders: drawn anew
        ok(cli.run("compare", *folders, "--out", tmp_path / "c"))
    before = cli.snapshot(tmp_path / "c")
    other = cli.run("compare", *folders[::-1], "--out", tmp_path / "c")
    cli.refused(other, "holds a comparison of other folders; use --overwrite")
    assert cli.snapshot(tmp_path / "c") == before
    ok(cli.run("compare", *folders[::-1], "--out", tmp_path / "c", "--overwrite"))
    assert "Less b." in (tmp_path / "c" / "tables" / "differences.tex").read_text()
    (tmp_path / "lookalike").mkdir()
    (tmp_path / "lookalike" / "report.html").write_text("precious")
    for flag in ((), ("--overwrite",)):
        refused = cli.run("compare", *folders, "--out", tmp_path / "lookalike", *flag)
        cli.refused(refused, "holds other files (report.html)")
    assert (tmp_path / "lookalike" / "report.html").read_text() == "precious"
    cli.refused(analyze(tmp_path / "c", nets[0], "--overwrite"), "holds other files")
    (tmp_path / "paper" / "figures").mkdir(parents=True)
    cli.refused(cli.run("compare", *folders, "--out", tmp_path / "paper"), "holds other files (figures)")


def test_two_seeds_of_one_checkpoint_are_compared(nets: tuple[Path, Path], tmp_path: Path) -> None:
    folders = [tmp_path / f"seed{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        ok(analyze(folder, nets[0], "--seed", seed))
    result = cli.run("compare", *folders, "--out", tmp_path / "both")
    ok(result)
    assert {line.split()[0] for line in result.stdout.splitlines()} >= {"seed0-a", "seed1-a"}
    assert "Less seed0-a." in (tmp_path / "both" / "tables" / "differences.tex").read_text()
    assert (
        "analysed with different seed (seed0-a: 0, seed1-a: 1)"
        in (tmp_path / "both" / "report.html").read_text()
    )
    cli.refused(cli.run("compare", *folders, folders[0], "--out", tmp_path / "c"), "seed0: given twice")


def test_one_checkpoint_given_twice(nets: tuple[Path, Path], tmp_path: Path) -> None:
    cli.refused(analyze(tmp_path / "out", nets[0], nets[1], nets[0]), "a.pt: given twice")


def test_a_checkpoint_may_not_be_named_as_geomlab_s_own_folders(
    nets: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "compare.pt"
    other.write_bytes(nets[1].read_bytes())
    cli.refused(analyze(tmp_path / "out", nets[0], other), "named 'compare'", "rename the file")


def test_a_subspace_that_is_not_there_is_said_before_results_go(nets: tuple[Path, Path], done: Path) -> None:
    before = cli.snapshot(done)
    result = analyze(done, nets[0], "--overwrite", "--measure", "features", "--params", "no-such")
    cli.refused(result, "selects none of the 4 parameters")
    assert cli.snapshot(done) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_that_cannot_be_removed(nets: tuple[Path, Path], done: Path) -> None:
    (done / "results").chmod(0o500)
    cli.refused(analyze(done, nets[0], "--overwrite"), "cannot be moved or removed")


def test_a_disk_that_is_full(nets: tuple[Path, Path], tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: what fits is kept, and goes on when there is room."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    out = tmp_path / "out"
    process = cli.start(
        *("analyze", nets[0], *OPTIONS, "--out", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)),
    )
    stdout, stderr = process.communicate(timeout=100)
    cli.refused(cli.Result(process.returncode, stdout, stderr), "cannot be written", "free the disk")
    assert not [path for path in out.rglob("*") if ".writing" in path.name]
    ok(analyze(out, nets[0], "--resume"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("tried to allocate 80 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000000 bytes"),
    ],
)
@pytest.mark.parametrize("where", ["geomlab.measure.Accuracy.__call__", "geomlab.study.sample_losses"])
def test_memory_that_does_not_suffice(
    where: str, error: Exception, nets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, greedy)
        cli.refused(
            analyze(tmp_path / "out", nets[0]), "not enough memory for single samples", "fewer --samples"
        )
    ok(analyze(tmp_path / "out", nets[0], "--resume", "--batch-size", "4"))


def test_other_versions_of_libraries_are_told(nets: tuple[Path, Path], done: Path) -> None:
    manifest = json.loads((done / "study.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    (done / "study.json").write_text(json.dumps(manifest))
    for _ in range(2):
        ok(analyze(done, nets[0], "--resume"))
        warnings = json.loads((done / "summary.json").read_text())["warnings"]
        (told,) = (line for line in warnings if line.startswith("resumed: "))
        assert "torch 1.0 (now " in told
