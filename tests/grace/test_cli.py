from pathlib import Path

import pytest
import typer

from geomlab import console
from geomlab.data import embedded
from grace import cli, methods
from tests import factories

ZERO_SHOT = str(embedded.checkpoint_path("zero-shot"))


def test_list_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(methods.names())


def test_train_then_evaluate(short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "ft", *short]) == 0
    assert str(tmp_path / "run" / "ft.pt") in capsys.readouterr().out
    asked = ["--condition", "clean", "--condition", "pgd:eps=16/255", "-n", "20"]
    assert cli.main(["evaluate", str(tmp_path / "run" / "ft.pt"), *asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["condition", "clean", "pgd"]
    assert all("n=20" in line and "[" in line for line in lines[1:])


def test_nothing_is_said_on_stderr_where_all_is_well(
    short: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "clip", *short]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Missing command; see grace --help"),
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'METHOD'; see grace train --help"),
        (["train", "ft"], "Missing option '--out'"),
        (["train", "ftt", "--out", "x"], "no method 'ftt'; did you mean 'ft'?"),
        (["train", "ft", "--out", "x", "--sed", "1"], "No such option: --sed"),
        (["train", "ft", "--out", "x", "--seed", "one"], "Invalid value for '--seed'"),
        (["train", "ft", "--out", "x", "--set", "lr=1"], "did you mean 'optimisation.lr'?"),
        (["train", "ft", "--out", "x", "--data", "glyph"], "no data source 'glyph'"),
        (["train", "ft", "--out", "x", "--resume", "--overwrite"], "give one of them"),
        (
            ["train", "grace", "--out", "x", "--set", "lora.targets=mlp"],
            "is not of the image tower; begin it with",
        ),
        (["train", "ft", "--out", "x", "--device", "abacus"], "--device 'abacus' cannot be used here"),
        (["evaluate", "none.pt"], "none.pt: cannot read the checkpoint"),
        (["evaluate", ZERO_SHOT, "--condition", "domain:fresco"], "has the domains photo"),
        (["evaluate", ZERO_SHOT, "-n", "0"], "Invalid value for '-n'"),
        (["evaluate", ZERO_SHOT, "--model", "abc"], "abc"),
    ],
)
def test_errors_are_one_line_and_status_2(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(args) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("grace: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_data_asks_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "bare.pt")
    assert cli.main(["evaluate", str(tmp_path / "bare.pt")]) == 2
    assert "names no data; give --data SPEC" in capfd.readouterr().err


def test_a_network_that_cannot_be_attacked_is_said_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    with torch.random.fork_rng():
        torch.save(factories.model().state_dict(), tmp_path / "bare.pt")
    asked = ["--model", "tests.misbehaving:detached", "--data", "tests.factories:data", "--condition", "pgd"]
    assert cli.main(["evaluate", str(tmp_path / "bare.pt"), *asked]) == 2
    error = capfd.readouterr().err
    assert "no gradient in the images" in error
    assert error.count("\n") == 1


def test_standard_conditions_name_domains_as_a_spec_does() -> None:
    from geomlab.data.arrays import Arrays
    from geomlab.data.condition import parse_conditions
    from grace.evaluate import standard

    images, labels = factories.data()
    source = Arrays("x", {"id": (images, labels), "k=v,w": (images, labels)})
    chosen = parse_conditions(standard(source), source, n=4, seed=0, batch_size=4)
    assert [condition.kind for condition in chosen] == ["clean", "domain", "adversarial"]


def test_data_that_a_checkpoint_names_is_never_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from geomlab import checkpoint

    target = tmp_path / "was-run"
    read = checkpoint.read(ZERO_SHOT)
    own = {key: value for key, value in read.metadata.items() if key not in ("digest", "versions")}
    metadata = {**own, "data": f"subprocess:getoutput,cmd=touch {target}"}
    checkpoint.write(tmp_path / "forged.pt", read.tensors, metadata)
    assert cli.main(["evaluate", str(tmp_path / "forged.pt")]) == 2
    assert "the checkpoint asks to run" in capfd.readouterr().err
    assert not target.exists()


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, typer.Abort])
def test_interruption_is_status_130(
    interruption: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def work() -> None:
        raise interruption

    assert console.run(app, "work", []) == 130
    assert capsys.readouterr().err == "work: interrupted\n"


def test_the_status_of_exit_is_kept() -> None:
    app = typer.Typer()

    @app.command()
    def work() -> None:
        raise typer.Exit(3)

    assert console.run(app, "work", []) == 3
