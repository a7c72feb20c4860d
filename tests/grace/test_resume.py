"""A run that is killed or stopped at any step ends as one that was not."""

import io
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geomlab import checkpoint
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from grace import cli as grace_cli
from grace import loop, signals
from grace.loop import Conduct
from grace.method import Method
from grace.recipe import compose
from grace.run import Run
from grace.step import Diverged, Progress
from tests import cli

STEPS = 16
SETTINGS = {
    "ft": (
        *("optimisation.optimiser=sgd", "optimisation.lr=1e-2", "optimisation.ema=0.8"),
        *("optimisation.accumulate=3", "optimisation.batch_size=32"),
    ),
    "grace": ("options.interval=3", "attack.steps=2", "optimisation.batch_size=16"),
}


def settings(method: str) -> list[str]:
    return [*SETTINGS[method], f"optimisation.max_steps={STEPS}", "optimisation.warmup=2"]


def arguments(method: str, out: Path, *more: str) -> list[str]:
    given = [part for text in settings(method) for part in ("--set", text)]
    return ["train", method, "--out", str(out), "--device", "cpu", *given, *more]


def start(method: str, out: Path, *more: str, until: int) -> subprocess.Popen[str]:
    """A process of its own that has done at least so many steps."""
    process = cli.start(*arguments(method, out, *more), program="grace")
    lines, patience = out / f"{method}.jsonl.part", time.monotonic() + 60
    while not lines.exists() or lines.read_text().count("\n") < until:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.002)
    return process


def metrics(path: Path) -> list[dict[str, Any]]:
    """The lines without their times."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Checkpoint, Path]]:
    """A run that nothing disturbs, by method."""
    done: dict[str, tuple[Checkpoint, Path]] = {}

    def run(method: str) -> tuple[Checkpoint, Path]:
        if method not in done:
            out = tmp_path_factory.mktemp(method)
            done[method] = loop.train(compose(method, settings=settings(method)), out), out
        return done[method]

    return run


@pytest.mark.parametrize(
    ("method", "times"),
    [
        ("ft", 1),
        ("grace", 1),
        pytest.param("ft", 6, marks=pytest.mark.slow),
        pytest.param("grace", 6, marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_random_step_and_resumed_it_is_the_same(
    method: str, times: int, whole: Callable[[str], tuple[Checkpoint, Path]], tmp_path: Path
) -> None:
    chance = random.Random(f"{method} {times}")
    for i in range(times):
        out = tmp_path / str(i)
        process = start(method, out, "--checkpoint-every", "2", until=chance.randrange(3, STEPS - 2))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert not (out / f"{method}.pt").exists()
        assert grace_cli.main(arguments(method, out, "--resume")) == 0
        expected, folder = whole(method)
        found = checkpoint.read(out / f"{method}.pt")
        assert found.digest == expected.digest
        assert found.metadata == expected.metadata
        assert metrics(out / f"{method}.jsonl") == metrics(folder / f"{method}.jsonl")
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_state_and_says_how_to_go_on(
    sent: signal.Signals, status: int, whole: Callable[[str], tuple[Checkpoint, Path]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start("ft", out, until=2)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (status, "")
    assert stderr.count("\n") == 1
    assert stderr.startswith(f"grace: {sent.name} after ")
    assert stderr.endswith(f"the same command with --resume goes on from {out / 'ft.state.pt'}\n")
    assert grace_cli.main(arguments("ft", out, "--resume")) == 0
    assert checkpoint.read(out / "ft.pt").digest == whole("ft")[0].digest


def stopped(out: Path, monkeypatch: pytest.MonkeyPatch, at: int = 3, conduct: Conduct | None = None) -> None:
    """Leave what a run leaves that was stopped after some steps."""
    step = loop.take_step

    def stop(run: Run, *rest: Any) -> dict[str, float | int]:
        line = step(run, *rest)
        if run.step == at - 1:
            signal.raise_signal(signal.SIGTERM)
        return line

    monkeypatch.setattr(loop, "take_step", stop)
    with pytest.raises(signals.Interrupted, match=f"SIGTERM after {at} of {STEPS} steps"):
        loop.train(compose("ft", settings=settings("ft")), out, conduct=conduct)
    monkeypatch.setattr(loop, "take_step", step)


def test_a_stopped_run_is_not_lost_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopped(tmp_path, monkeypatch)
    assert signal.getsignal(signal.SIGTERM) is before
    recipe = compose("ft", settings=settings("ft"))
    with pytest.raises(
        UserError, match=r"ft.state.pt is there, of a run that was stopped; --resume to go on, or"
    ):
        loop.train(recipe, tmp_path)
    state = (tmp_path / "ft.state.pt").read_bytes()
    with pytest.raises(UserError, match=r"is of another run \(seed is 0, here 1\); give the same command"):
        loop.train(recipe, tmp_path, seed=1, conduct=Conduct(resume=True))
    other = compose("ft", settings=[*settings("ft"), "optimisation.lr=0.5"])
    with pytest.raises(UserError, match=r"another run \(recipe\.optimisation\.lr is 0\.01, here 0\.5\)"):
        loop.train(other, tmp_path, conduct=Conduct(resume=True))
    assert (tmp_path / "ft.state.pt").read_bytes() == state
    assert len(metrics(tmp_path / "ft.jsonl.part")) == 3
    loop.train(recipe, tmp_path, conduct=Conduct(overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ft.jsonl", "ft.pt"]


def test_a_state_that_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path, monkeypatch)
    recipe, path = compose("ft", settings=settings("ft")), tmp_path / "ft.state.pt"
    whole = path.read_bytes()

    def resumed() -> None:
        loop.train(recipe, tmp_path, conduct=Conduct(resume=True))

    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="not a whole state of a run; --overwrite to begin anew"):
        resumed()
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not a state that this version can go on from"):
        resumed()
    found = torch.load(io.BytesIO(whole))
    found["tensors"]["weights"].popitem()
    torch.save(found, path)
    with pytest.raises(UserError, match="not a whole state of a run; --overwrite to begin anew"):
        resumed()
    found = torch.load(io.BytesIO(whole))
    found["run"]["recipe"]["optimisation"]["later"] = 3  # of another version
    torch.save(found, path)
    with pytest.raises(UserError, match=r"another run \(recipe\.optimisation\.later is 3, here None\)"):
        resumed()
    path.write_bytes(whole)
    lines = (tmp_path / "ft.jsonl.part").read_text().splitlines(keepends=True)
    (tmp_path / "ft.jsonl.part").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"ft\.jsonl\.part: not the metrics of a run; --overwrite"):
        resumed()
    (tmp_path / "ft.jsonl.part").write_text("".join(lines[:2]))
    with pytest.raises(UserError, match="has the metrics of 2 steps, not of the 3 done; --overwrite"):
        resumed()


def test_resume_begins_where_nothing_was_stopped_and_leaves_what_is_complete(tmp_path: Path) -> None:
    recipe = compose(
        "ft", settings=["optimisation.max_steps=2", "optimisation.warmup=1", "optimisation.batch_size=16"]
    )
    conduct = Conduct(resume=True)
    found = loop.train(recipe, tmp_path, conduct=conduct)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "ft.jsonl").rename(tmp_path / "ft.jsonl.part")  # stopped after the checkpoint was written
    assert loop.train(recipe, tmp_path, conduct=conduct).digest == found.digest
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(UserError, match=r"ft\.pt is of another run \(seed is 0, here 1\); .*--overwrite"):
        loop.train(recipe, tmp_path, seed=1, conduct=conduct)
    with pytest.raises(UserError, match=r"ft\.pt is there already"):
        loop.train(recipe, tmp_path)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_replaces_another_goes_on_too(
    seed: int,
    whole: Callable[[str], tuple[Checkpoint, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one before, of another seed or of the same, stays whole until then."""
    recipe, expected = compose("ft", settings=settings("ft")), whole("ft")
    loop.train(recipe, tmp_path, seed=seed)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    stopped(tmp_path, monkeypatch, conduct=Conduct(overwrite=True))
    assert {path: path.read_bytes() for path in before} == before
    assert loop.train(recipe, tmp_path, conduct=Conduct(resume=True)).digest == expected[0].digest
    assert metrics(tmp_path / "ft.jsonl") == metrics(expected[1] / "ft.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ft.jsonl", "ft.pt"]


def test_a_run_that_failed_to_replace_another_costs_it_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = compose("ft", settings=settings("ft"))
    found = loop.train(recipe, tmp_path)
    lines = (tmp_path / "ft.jsonl").read_bytes()
    step = loop.take_step

    def fail(run: Run, *rest: Any) -> dict[str, float | int]:
        if run.step == 2:
            raise OSError("no space left")
        return step(run, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", fail)
        with pytest.raises(OSError, match="no space left"):
            loop.train(recipe, tmp_path, conduct=Conduct(overwrite=True))
    assert loop.train(recipe, tmp_path, conduct=Conduct(resume=True)).digest == found.digest
    assert (tmp_path / "ft.jsonl").read_bytes() == lines


def test_a_signal_while_a_state_is_saved_stops_after_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to be saved is: no step is done that the state does not hold."""
    save = Progress.save

    def interrupted(progressing: Progress, done: int) -> None:
        save(progressing, done)
        if done == 4:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Progress, "save", interrupted)
    with pytest.raises(signals.Interrupted, match=f"SIGTERM after 5 of {STEPS} steps"):
        loop.train(compose("ft", settings=settings("ft")), tmp_path, conduct=Conduct(checkpoint_every=4))
    assert torch.load(tmp_path / "ft.state.pt")["run"]["step"] == 5


def test_an_end_that_was_cut_short_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the last step fails: the state of all steps is there, and the run ends from it."""
    recipe = compose(
        "lora-ft", settings=["optimisation.max_steps=2", "optimisation.warmup=1", "optimisation.ema=0.5"]
    )
    whole = loop.train(recipe, tmp_path / "whole")

    def full(*_: object) -> None:
        raise OSError("no space left")

    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "write", full)
        with pytest.raises(OSError, match="no space left"):
            loop.train(recipe, out)
    (out / "lora-ft.adapters.pt").write_bytes(b"written, but the checkpoint was not")
    assert not (out / "lora-ft.pt").exists()
    assert loop.train(recipe, out, conduct=Conduct(resume=True)).digest == whole.digest
    assert sorted(path.name for path in out.iterdir()) == [
        "lora-ft.adapters.pt",
        "lora-ft.jsonl",
        "lora-ft.pt",
    ]


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("ft", ["(cross_entropy nan)"]),
        (
            "lora-at",
            ["attack's gradient is not", "; terms of the loss a step before: clean ", ", adversarial "],
        ),
    ],
)
def test_what_is_not_finite_is_said_with_its_step(method: str, what: list[str], tmp_path: Path) -> None:
    given = ["lr=1e30", "warmup=0", "max_steps=9", "batch_size=16"]
    recipe = compose(method, settings=[f"optimisation.{text}" for text in given])
    with pytest.raises(Diverged) as caught:
        loop.train(recipe, tmp_path)
    message = str(caught.value)
    assert message.startswith("step 1: ")
    assert all(part in message for part in what)
    assert (
        "no state was saved (--checkpoint-every N does); begin anew with a lower optimisation.lr" in message
    )
    assert not (tmp_path / f"{method}.pt").exists()


def breaking(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one step's update leave weights whose features overflow."""
    whole = loop.take_step

    def broken(run: Run, method: Method, progressing: Progress) -> dict[str, float | int]:
        line = whole(run, method, progressing)
        if run.step == at:
            with torch.no_grad():
                next(iter(run.weights.values())).fill_(1e30)
        return line

    monkeypatch.setattr(loop, "take_step", broken)


def test_the_state_that_a_message_names_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is from before the update that broke the network, so without the breakage the run ends as if never stopped."""
    recipe = compose(
        "ft", settings=["optimisation.max_steps=5", "optimisation.warmup=1", "optimisation.batch_size=16"]
    )
    whole = loop.train(recipe, tmp_path / "whole")
    conduct = Conduct(checkpoint_every=1, resume=True)
    with monkeypatch.context() as patch:
        breaking(2, patch)
        with pytest.raises(
            Diverged, match=r"^step 2: its update leaves .* not finite; .* good state, after 2 steps"
        ):
            loop.train(recipe, tmp_path / "cut", conduct=conduct)
    assert loop.train(recipe, tmp_path / "cut", conduct=conduct).digest == whole.digest


def test_a_network_that_the_last_step_breaks_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(1, monkeypatch)
    recipe = compose("ft", settings=["optimisation.max_steps=2", "optimisation.warmup=1"])
    with pytest.raises(Diverged, match=r"^step 1: its update leaves .* no checkpoint was written, no state"):
        loop.train(recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ft.jsonl.part"]
