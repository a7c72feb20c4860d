"""A bench that is cut short goes on where it stopped, and gives the same with any number of workers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from geomlab.errors import UserError
from grace import cli as grace_cli
from grace import loop, signals
from grace.bench import workers
from grace.bench.cells import Job
from tests import cli

OPTIONS = (
    *("bench", "--methods", "ft", "--seeds", "2", "--budget", "quick", "--samples", "4"),
    *("--set", "optimisation.max_steps=40", "--checkpoint-every", "2"),
)


def rows(out: Path) -> Any:
    """bench.json without its times."""
    timed = ("seconds_per_step", "cost_ratio")
    return [
        {key: value for key, value in row.items() if key not in timed}
        for row in json.loads((out / "bench.json").read_text())
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench that was left alone, in this process."""
    out = tmp_path_factory.mktemp("whole")
    assert grace_cli.main([*OPTIONS, "--out", str(out)]) == 0
    return out


def begin(out: Path, seeds: Iterable[int], *options: str) -> subprocess.Popen[str]:
    """Start a bench, and wait until these seeds are in the middle of their training."""
    seeds = tuple(seeds)
    process = cli.start(*OPTIONS, "--out", out, *options, program="grace")
    until = time.monotonic() + 60
    while not all((out / "runs" / f"ft-{seed}" / "ft.state.pt").exists() for seed in seeds):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    return process


def children(pid: int) -> list[int]:
    return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits only to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_bench_goes_on_and_gives_the_same(seeds: int, whole: Path, tmp_path: Path) -> None:
    process = begin(tmp_path, range(seeds), "--workers", str(seeds))
    running = children(process.pid)
    assert len(running) >= seeds - 1
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    until = time.monotonic() + 20
    while not all(map(ended, running)) and time.monotonic() < until:
        time.sleep(0.02)
    assert all(map(ended, running)), "a worker outlives what started it"
    before = [(tmp_path / "runs" / f"ft-{seed}" / "ft.jsonl.part").read_text() for seed in range(seeds)]
    assert all(1 < text.count("\n") < 40 for text in before)
    assert grace_cli.main([*OPTIONS, "--out", str(tmp_path), "--workers", "2"]) == 0
    assert rows(tmp_path) == rows(whole)  # which one process did
    for seed, text in enumerate(before):  # with their times: steps before the last state were not done again
        after = (tmp_path / "runs" / f"ft-{seed}" / "ft.jsonl").read_text()
        assert after.startswith("".join(text.splitlines(keepends=True)[:2]))


def said(out: Path) -> str:
    return f"grace: interrupted; what is done stays in {out}, the same command goes on\n"


@pytest.mark.slow
def test_ctrl_c_saves_the_run(tmp_path: Path) -> None:
    process = begin(tmp_path, [0])
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", said(tmp_path))
    assert (tmp_path / "runs" / "ft-0" / "ft.state.pt").exists()


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (signals.Interrupted(signal.SIGINT, 1, 2, Path("x")), 130),
        (signals.Interrupted(signal.SIGTERM, 1, 2, Path("x")), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_interruption_is_one_line(
    stop: BaseException,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr(loop, "train", interrupt)
    assert grace_cli.main([*OPTIONS, "--out", str(tmp_path)]) == status
    assert capfd.readouterr() == ("", said(tmp_path))


def test_a_worker_that_ends_unasked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_begin", os.abort)
    with pytest.raises(UserError, match=r"a worker ended unasked, .* with fewer --workers"):
        list(workers.run([Job(())], 2))
