import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geomlab.errors import UserError
from grace import cli, loop, metrics
from grace.loop import Conduct
from grace.recipe import compose

SHORT = ("optimisation.max_steps=3", "optimisation.batch_size=16", "optimisation.warmup=1")


def test_tensorboard_shows_what_the_json_lines_say(tmp_path: Path) -> None:
    loop.train(compose("ft", settings=SHORT), tmp_path, conduct=Conduct(log=("tensorboard",)))
    lines = [json.loads(line) for line in (tmp_path / "ft.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "ft")).Reload()
    assert set(events.Tags()["scalars"]) == set(lines[0]) - {"step"}
    for name in ("loss", "cross_entropy", "lr"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert shown == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]


def test_tensorboard_shows_a_run_that_begins_anew_and_no_step_of_the_one_before(tmp_path: Path) -> None:
    longer = compose("ft", settings=[*SHORT, "optimisation.max_steps=5"])
    loop.train(longer, tmp_path, conduct=Conduct(log=("tensorboard",)))
    again = Conduct(overwrite=True, log=("tensorboard",))
    loop.train(compose("ft", settings=SHORT), tmp_path, conduct=again)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "ft")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2]


def test_wandb_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    given = [part for text in SHORT for part in ("--set", text)]
    assert cli.main(["train", "ft", "--out", str(tmp_path / "run"), "--log", "wandb", *given]) == 2
    assert capfd.readouterr().err == "grace: --log wandb: it is not installed; pip install 'geomlab[wandb]'\n"


def test_wandb_gets_every_step_and_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Session:
        def __enter__(self) -> "Session":
            return self

        def __exit__(self, *_: object) -> None:
            seen.append("finished")

        def log(self, line: dict[str, float], step: int) -> None:
            seen.append((step, line["loss"]))

    fake = ModuleType("wandb")
    fake.init = lambda **options: seen.append(options) or Session()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    loop.train(compose("ft", settings=SHORT), tmp_path, conduct=Conduct(log=("wandb",)))
    lines = [json.loads(line) for line in (tmp_path / "ft.jsonl").read_text().splitlines()]
    assert seen[0]["config"]["recipe"]["optimisation"]["max_steps"] == 3
    assert seen[1:] == [*((line["step"], line["loss"]) for line in lines), "finished"]


def test_an_unknown_logger_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--log mlflow: there are tensorboard, wandb"):
        metrics.require(["mlflow"])
    (tmp_path / "ft.state.pt").write_bytes(b"a stopped run")
    (tmp_path / "ft.jsonl.part").write_text("its lines")
    conduct = Conduct(log=("mlflow",), overwrite=True)
    with pytest.raises(UserError, match="--log mlflow"):
        loop.train(compose("ft", settings=SHORT), tmp_path, conduct=conduct)
    assert (tmp_path / "ft.state.pt").read_bytes() == b"a stopped run"
    assert (tmp_path / "ft.jsonl.part").read_text() == "its lines"
