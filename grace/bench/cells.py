"""One cell of a bench: a method and a seed, trained, judged, and kept in a folder of its own."""

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geomlab import checkpoint, files, subject
from geomlab.checkpoint import Checkpoint
from geomlab.data import sources
from geomlab.errors import UserError
from grace import loop, methods
from grace.bench.judge import Judge, drift
from grace.outputs import Files
from grace.settings import Recipe
from grace.start import start_model
from grace.state import differences
from grace.step import Diverged

SCHEMA = 1
RESULT = "result.json"
_SCORES = ("drift", "id", "ood", "adv", "harmonic_mean", "accuracy", "n")
_TABLES = ("accuracy", "n", "identity")
_KEYS = {"method", "seed", "steps", "seconds_per_step", "digest", "identity", *_SCORES}


@dataclass(frozen=True)
class Cell:
    """What is trained and judged; it travels to another process.

    Attributes:
        label: the method as the user named it.
        recipe: what to do.
        seed: of the run.
        start: the checkpoint that training starts from, as `--from` takes it.
        origin: the digest of its tensors.
        judge: of what comes of it.
        folder: its own.
        device: of torch.
        checkpoint_every: steps after which the state of the run is saved.
    """

    label: str
    recipe: Recipe
    seed: int
    start: str
    origin: str
    judge: Judge
    folder: Path
    device: str = "cpu"
    checkpoint_every: int | None = None

    @property
    def takes_steps(self) -> bool:
        """Whether anything is trained, and so may differ from seed to seed."""
        return methods.get(self.recipe.method).takes_steps(self.recipe.options)

    @property
    def written(self) -> Files:
        """The files of its training."""
        return Files(self.folder, self.recipe.method)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a result to be its."""
        run = loop.identify(self.recipe, self.seed, self.origin)
        return {**run, "judge": self.judge.as_json()}

    def result(self) -> dict[str, Any] | None:
        """What an earlier bench found of it; None where there is nothing.

        Raises:
            UserError: if it cannot be read, or is of something else.
        """
        path = self.folder / RESULT
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); --overwrite to begin anew") from error
        if found is None:
            return None
        whole = isinstance(found, dict) and found.get("schema") == SCHEMA and set(found) >= _KEYS
        if not (whole and all(isinstance(found[key], dict) for key in _TABLES)):
            raise UserError(f"{path}: no result that this version can read; --overwrite to begin anew")
        different = differences(found["identity"], self.identity)
        if different:
            raise UserError(
                f"{path} is of another run ({', '.join(different)}); give the same command or another --out, "
                "or --overwrite to begin anew"
            )
        result: dict[str, Any] = found
        return result

    def clear(self) -> None:
        """Remove what an earlier bench left of it; files of others stay."""
        written = self.written
        for path in (
            self.folder / RESULT,
            written.checkpoint,
            written.adapters,
            written.metrics,
            written.running,
            written.state,
        ):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Job:
    """Cells that one process does one after another: the seeds of a method that takes no step, else a single one.

    Attributes:
        cells: at least one.
        threads: of torch, for each.
    """

    cells: tuple[Cell, ...]
    threads: int = 1


def work(job: Job) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Train and judge what is not there yet, each with its result as soon as it is written.

    Where two seeds give the same network it is judged once.

    Raises:
        UserError: naming the cell, if training or judging fails.
        grace.signals.Interrupted: after a signal during training.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    known: dict[str, dict[str, Any]] = {}
    try:
        for cell in job.cells:
            found = cell.result()
            if found is None:
                try:
                    found = _find(cell, known)
                except UserError as error:
                    raise type(error)(f"{cell.label}, seed {cell.seed}: {error}") from error
            known[found["digest"]] = {key: found[key] for key in _SCORES}
            yield cell, found
    finally:
        torch.set_num_threads(before)


def attempt(job: Job) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """As `work`; a run that diverges has its `error` for a result, and the others of the job are not done."""
    before: list[Cell] = []
    try:
        for cell, found in work(job):
            before.append(cell)
            yield cell, found
    except Diverged as error:
        yield job.cells[len(before)], {"error": str(error)}


def seconds_per_step(metrics: Path) -> float | None:
    """Median of the `seconds` in a run's JSON lines; None where it took no step.

    Raises:
        UserError: if they cannot be read.
    """
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
        return statistics.median(json.loads(line)["seconds"] for line in lines) if lines else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{metrics}: not the metrics of a run; --overwrite to begin anew") from error


def _find(cell: Cell, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    for left in cell.folder.glob(f"{files.TEMPORARY}*"):  # half written when an earlier bench was killed
        left.unlink()
    # Files of a run that ended between two of them may be there: they are replaced, a saved state is gone on with.
    conduct = loop.Conduct(overwrite=True, resume=True, checkpoint_every=cell.checkpoint_every)
    loop.train(
        cell.recipe, cell.folder, initial=cell.start, seed=cell.seed, device=cell.device, conduct=conduct
    )
    trained = checkpoint.read(cell.written.checkpoint)  # what is judged is what is on disk
    scores = known.get(trained.digest) or _judge(cell, trained)
    found = {
        "schema": SCHEMA,
        "method": cell.label,
        "seed": cell.seed,
        **scores,
        "steps": trained.metadata["step"],
        "seconds_per_step": seconds_per_step(cell.written.metrics),
        "threads": torch.get_num_threads(),
        "digest": trained.digest,
        "identity": cell.identity,
    }
    content = json.dumps(found, indent=1, allow_nan=False) + "\n"
    try:
        files.replace(cell.folder / RESULT, content.encode())
    except OSError as error:
        raise UserError(f"{cell.folder / RESULT}: cannot be written ({error.strerror}); make room") from error
    return found


def _judge(cell: Cell, trained: Checkpoint) -> dict[str, Any]:
    source = cell.judge.open()
    network = subject.load(trained, labels=source.labels).to(cell.device, torch.float32)
    method = methods.get(cell.recipe.method)
    start, _ = start_model(cell.recipe, method, sources.open_source(cell.recipe.data.train), cell.start, 0)
    return {"drift": drift(start.tensors(), trained.tensors)} | cell.judge(network).as_json()
