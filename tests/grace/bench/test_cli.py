from pathlib import Path

import pytest

from geomlab.data import embedded
from grace import cli


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Missing option '--out'"),
        (["--out", "x", "--methods", "ftt"], "no method 'ftt'; did you mean 'ft'?"),
        (["--out", "x", "--methods", "ft,ft"], "names 'ft' twice"),
        (["--out", "x", "--methods", "clip"], "clip starts from scratch"),
        (["--out", "x", "--methods", "grace:rhoo=1"], "did you mean 'options.rho'?"),
        (["--out", "x", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["--out", "x", "--samples", "1"], "Invalid value for '--samples'"),
        (["--out", "x", "--workers", "0"], "Invalid value for '--workers'"),
        (["--out", "x", "--budget", "paper"], "no budget 'paper' for this data; there is quick, standard"),
        (["--out", "x", "--set", "lr=1"], "did you mean 'optimisation.lr'?"),
        (["--out", "x", "--methods", "ft", "--set", "lora.rank=1"], "none of the methods uses the section"),
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
    assert cli.main(["bench", *args]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("grace: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("weak")
def test_a_line_a_cell_and_the_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start = str(embedded.checkpoint_path("zero-shot"))
    asked = ["--methods", "ft", "--seeds", "1", "--budget", "quick", "--samples", "10", "--from", start]
    assert cli.main(["bench", *asked, "--set", "optimisation.max_steps=3", "--out", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("ft, seed 0: ID ")
    assert (tmp_path / "bench.txt").read_text() in out
