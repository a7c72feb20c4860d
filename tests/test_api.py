"""What a script or a notebook may get wrong, and what it gets."""

from pathlib import Path
from typing import Any

import pytest

import geomlab
from geomlab import console
from geomlab.data.embedded import checkpoint_path
from geomlab.results import Results
from tests import cli

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"measures": "accuracy"},
            "measures='accuracy': 'str' instances are not allowed as a Sequence value",
        ),
        ({"conditions": "clean"}, "conditions='clean': 'str' instances are not allowed"),
        ({"samples": "20"}, "samples='20': Input should be a valid integer"),
        ({"batch_size": 2.5}, "batch_size=2.5: Input should be a valid integer"),
        ({"samples": 1}, "at least 2 samples"),
        ({"seeed": 3}, "seeed=3: Unexpected keyword argument"),
        ({"budget": "huge"}, "no budget 'huge'; there are quick, standard, paper"),
    ],
)
def test_options_that_cannot_be_used(options: Any, message: str, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(geomlab.UserError) as caught:
        geomlab.analyze(weights, out=tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_options_that_are_the_usual_ones_change_nothing_anywhere(weights: Path, tmp_path: Path) -> None:
    options: Any = {"model": "tests.factories:model", "data": "tests.factories:data"}
    for number, directions in enumerate(([], ["random"], ("random", "random"))):
        geomlab.analyze(
            weights, out=tmp_path / str(number), measures=["accuracy"], conditions=["clean"], directions=directions,
            layers="", **options,
        )  # fmt: skip


def test_results_are_a_mapping(one: Results) -> None:
    assert list(one) == [
        "accuracy",
        "curvature",
        "landscape",
        "paths",
        "features",
        "sanity",
        "drift",
        "bound",
    ]
    assert len(one) == 8
    assert "features" in one
    assert one.get("beauty") is None
    with pytest.raises(KeyError, match="no measurement 'beauty'; there are accuracy, curvature"):
        one["beauty"]
    assert "grace-s0 × clean" in repr(one)
    assert one == one
    assert one != geomlab.open(one.folder)


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize(
    ("program", "arguments"), [("geomlab", ("info", checkpoint_path("ft"))), ("grace", ("list",))]
)
def test_an_output_that_cannot_be_written_is_one_line(program: str, arguments: tuple[object, ...]) -> None:
    with FULL.open("w") as full:
        process = cli.start(*arguments, program=program, stdout=full)
        _, stderr = process.communicate(timeout=100)
    assert process.returncode == 2
    why = "cannot write to standard output (No space left on device)"
    assert stderr == f"{program}: {why}; all files are written\n"


def test_saying_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("hello")
    assert capsys.readouterr().out == "hello\n"
