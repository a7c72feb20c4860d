"""Where the numbers of each step go: JSON lines always, TensorBoard and Weights & Biases on request."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from geomlab import files
from geomlab.errors import UserError

Line = Mapping[str, float | int]
LOGGERS = ("tensorboard", "wandb")


class Logger(Protocol):
    """Takes the numbers of a step."""

    def __call__(self, line: Line) -> None:
        """Log one step; `step` is among its numbers."""
        ...


def require(wanted: Iterable[str]) -> None:
    """Refuse loggers that cannot log.

    Args:
        wanted: of `LOGGERS`.

    Raises:
        UserError: if one is unknown or not installed.
    """
    unknown = sorted(set(wanted) - set(LOGGERS))
    if unknown:
        raise UserError(f"--log {', '.join(unknown)}: there are {', '.join(LOGGERS)}")
    if "wandb" in wanted:
        try:
            import_module("wandb")
        except ModuleNotFoundError as error:
            raise UserError("--log wandb: it is not installed; pip install 'geomlab[wandb]'") from error


@contextmanager
def logging(
    lines: Path, wanted: Iterable[str], name: str, config: Mapping[str, Any], first: int
) -> Iterator[Logger]:
    """Log to JSON lines, and to what else is wanted.

    Args:
        lines: the file of JSON lines; those of steps before `first` are kept.
        wanted: of `LOGGERS`.
        name: of the run.
        config: what the run is, JSON-able.
        first: the first step that is logged.

    Raises:
        UserError: if the lines of earlier steps are missing.
    """
    open_logger = {"tensorboard": _tensorboard, "wandb": _wandb}
    with ExitStack() as stack:
        loggers = [stack.enter_context(_json_lines(lines, first))]
        loggers += [
            stack.enter_context(open_logger[kind](lines.parent, name, config, first)) for kind in wanted
        ]

        def log(line: Line) -> None:
            for logger in loggers:
                logger(line)

        yield log


@contextmanager
def _json_lines(path: Path, first: int) -> Iterator[Logger]:
    try:
        kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:first] if path.exists() else []
    except ValueError as error:
        raise UserError(f"{path}: not the metrics of a run; --overwrite to begin anew") from error
    if len(kept) < first:
        raise UserError(
            f"{path} has the metrics of {len(kept)} steps, not of the {first} done; --overwrite to begin anew"
        )
    files.replace(path, "".join(kept).encode())
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def log(line: Line) -> None:
            file.write(json.dumps(line) + "\n")

        yield log


@contextmanager
def _tensorboard(folder: Path, name: str, config: Mapping[str, Any], first: int) -> Iterator[Logger]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard" / name), purge_step=first) as writer:
        writer.add_text("recipe", f"```\n{json.dumps(config, indent=2)}\n```", global_step=first)

        def log(line: Line) -> None:
            for key, value in line.items():
                if key != "step":
                    writer.add_scalar(key, value, global_step=int(line["step"]))

        yield log


@contextmanager
def _wandb(folder: Path, name: str, config: Mapping[str, Any], first: int) -> Iterator[Logger]:
    import wandb

    with wandb.init(project="grace", name=name, dir=str(folder), config=dict(config)) as run:

        def log(line: Line) -> None:
            run.log(dict(line), step=int(line["step"]))

        yield log
