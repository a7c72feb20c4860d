"""One loop for every method: batches in a seeded order, step after step; it can stop and go on at any of them."""

import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from geomlab import checkpoint, params, progress
from geomlab.architectures import HEAD
from geomlab.checkpoint import Checkpoint
from geomlab.data import sources
from geomlab.errors import NotFinite, UserError
from geomlab.rng import derive_seed
from grace import adapters, lora, methods, metrics, state
from grace.batches import Batch
from grace.method import Method
from grace.model import Model
from grace.optimise import average, learning_rate, make_optimiser
from grace.outputs import Files
from grace.run import Run
from grace.settings import Recipe
from grace.start import check_fits, open_pools, start_model


@dataclass(frozen=True)
class Conduct:
    """How a run is carried out; nothing here changes what comes of it.

    Attributes:
        overwrite: whether files of an earlier run may be replaced; they are when this one is complete.
        resume: whether a run that was stopped goes on; it begins where there is none.
        checkpoint_every: steps after which the state is saved, again and again; None saves it only on a signal.
        log: where metrics go besides the JSON lines, of `metrics.LOGGERS`.
    """

    overwrite: bool = False
    resume: bool = False
    checkpoint_every: int | None = None
    log: tuple[str, ...] = ()


class Diverged(UserError):
    """The loss, its gradient or an attack's is no longer finite."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal, and its state saved.

    Args:
        number: of the signal.
        done: steps that are done.
        steps: of the whole run.
        path: of the state.
    """

    def __init__(self, number: int, done: int, steps: int, path: Path) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"{name} after {done} of {steps} steps; the same command with --resume goes on from {path}"
        )
        self.number = number


def train(
    recipe: Recipe,
    out: Path,
    *,
    initial: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    conduct: Conduct | None = None,
) -> Checkpoint:
    """Train by a recipe and write `OUT/<method>.pt`, `OUT/<method>.jsonl`, and the adapters alone where there are any.

    Args:
        recipe: what to do.
        out: folder.
        initial: a checkpoint file, `open_clip:NAME[,pretrained=TAG]` or `embedded:NAME`. None takes a random
            initialisation for a method that starts from scratch, else the recipe's `data.initial`.
        seed: of initialisation, order, augmentation and the method's own draws.
        device: of torch.
        conduct: how it is carried out.

    Returns:
        The checkpoint as written.

    Raises:
        UserError: if a file is there already, the start or the data does not fit, or the warm-up takes all steps.
        Diverged: if the loss is no longer finite.
        Interrupted: after SIGTERM or SIGINT.
    """
    conduct = conduct or Conduct()
    method = methods.get(recipe.method)
    written = Files(out, method.name)
    metrics.require(conduct.log)
    if not conduct.overwrite:
        written.check_absent(resume=conduct.resume)
    source = sources.open_source(recipe.data.train)
    model, origin = start_model(recipe, method, source, initial, seed)
    model.precision = getattr(torch, recipe.optimisation.precision)
    model.to(device).eval()
    pool, validation = open_pools(recipe, source, model.preprocessing.size, seed)
    takes_steps = method.takes_steps(recipe.options)
    steps = recipe.optimisation.steps(pool.steps_per_epoch) if takes_steps else 0
    check_fits(model, pool)
    run = Run(model, recipe, pool, validation, steps)
    prepare(run, method)
    goes_on = conduct.resume and written.state.exists()
    written.make_room(resume=goes_on)
    fit(run, method, written, origin, conduct)
    method.finish(run)
    about = describe(model, recipe) | {"step": steps, "seed": seed, "initial": origin}
    factors = lora.factors(model.clip)
    if factors:
        head = {} if model.head is None else {HEAD: model.head.weight}
        adapters.write(written.adapters, factors | head, origin, about, run.lora.scale)
    found = checkpoint.write(written.checkpoint, model.tensors(), about)
    written.running.replace(written.metrics)
    written.state.unlink(missing_ok=True)
    return found


def prepare(run: Run, method: Method) -> None:
    """Make the model ready, and choose what trains."""
    method.prepare(run)
    run.weights = trained(run.model, method)
    run.anchor = {name: weight.detach().clone() for name, weight in run.weights.items()}


def fit(run: Run, method: Method, written: Files, origin: str | None, conduct: Conduct) -> None:
    """Take all steps that are left, one JSON line of metrics each; after the last the state is saved.

    Raises:
        UserError: if images cannot be used.
        Diverged: with the step, if the loss or its gradient is not finite.
        Interrupted: after SIGTERM or SIGINT.
    """
    settings, seed = run.recipe.optimisation, run.seed
    if not run.steps:
        return
    identity = {
        "method": method.name,
        "seed": seed,
        "initial": origin,
        "recipe": run.recipe.model_dump(mode="json"),
    }
    progressing = Progress(run, make_optimiser(run.weights.values(), settings), written.state, identity)
    if conduct.resume and written.state.exists():
        progressing.load()
    first, every = run.step, conduct.checkpoint_every
    run.model.train()
    begun = time.monotonic()
    with (
        _signals() as caught,
        progress.bar(run.steps, method.name, done=first) as bar,
        metrics.logging(written.running, conduct.log, method.name, identity, first) as log,
    ):
        for step in range(first, run.steps):
            run.step = step
            before = time.monotonic()
            line = take_step(run, method, progressing)
            log(line | {"seconds": time.monotonic() - before})
            rate = (step + 1 - first) / (time.monotonic() - begun)
            bar.step(f"{method.name}  loss {line['loss']:.3f}  {rate:.1f} steps/s")
            bar.advance()
            if caught or (every and (step + 1) % every == 0) or step + 1 == run.steps:
                progressing.save(step + 1)
            if caught:
                raise Interrupted(caught[0], step + 1, run.steps, written.state)
    if progressing.mean:
        with torch.no_grad():
            for name, weight in run.weights.items():
                weight.copy_(progressing.mean[name])
    run.model.eval()


@dataclass(eq=False)
class Progress:
    """What changes from step to step besides the run: its optimiser and the average of its weights."""

    run: Run
    optimiser: torch.optim.Optimizer
    path: Path
    identity: Mapping[str, Any]
    mean: dict[str, Tensor] = field(default_factory=dict)
    saved: int | None = None

    def save(self, done: int) -> None:
        """Write all that is needed to go on after so many steps."""
        tensors: dict[str, dict[str, Tensor]] = {
            "weights": dict(self.run.weights),
            "buffers": dict(self.run.model.named_buffers()),
            "memory": self.run.memory,
            "mean": self.mean,
        }
        state.save(
            self.path,
            run={**self.identity, "step": done},
            tensors=tensors,
            optimiser=self.optimiser.state_dict(),
        )
        self.saved = done

    def failed(self, why: str) -> Diverged:
        """What ends a run that cannot go on: the step, why, and where the last good state is."""
        kept = "no state was saved (--checkpoint-every N does)"
        if self.saved is not None:
            kept = f"{self.path} holds the state after {self.saved} steps"
        return Diverged(
            f"step {self.run.step}: {why}; no checkpoint was written, {kept}; "
            "lower optimisation.lr or lengthen optimisation.warmup"
        )

    @torch.no_grad()
    def load(self) -> None:
        """Be where the saved run was.

        Raises:
            UserError: if it cannot be read, or is of another run.
        """
        found = state.load(self.path, run=self.identity)
        tensors, device = found["tensors"], self.run.device
        for own, name in ((self.run.weights, "weights"), (dict(self.run.model.named_buffers()), "buffers")):
            for key, tensor in own.items():
                tensor.copy_(tensors[name][key])
        self.run.memory = {name: tensor.to(device) for name, tensor in tensors["memory"].items()}
        self.mean = {name: tensor.to(device) for name, tensor in tensors["mean"].items()}
        self.optimiser.load_state_dict(found["optimiser"])
        self.run.step = self.saved = found["run"]["step"]


def take_step(run: Run, method: Method, progressing: Progress) -> dict[str, float | int]:
    """One step of the optimiser.

    Returns:
        Its numbers: the loss, its terms, the gradient's norm before it was clipped, the learning rate.

    Raises:
        Diverged: if the loss or its gradient is not finite; no weight has changed then.
    """
    settings, optimiser = run.recipe.optimisation, progressing.optimiser
    lr = learning_rate(run.step, run.steps, settings)
    for group in optimiser.param_groups:
        group["lr"] = lr
    batch = run.pool.batch(run.step).to(run.device)
    optimiser.zero_grad()
    terms: dict[str, float] = {}
    with _seeded(run):
        for run.part, (part, share) in enumerate(_parts(batch, settings.accumulate)):
            try:
                found = {name: share * term for name, term in method.loss(run, part).items()}
            except NotFinite as error:
                raise progressing.failed(str(error)) from error
            torch.stack(list(found.values())).sum().backward()
            for name, term in found.items():
                terms[name] = terms.get(name, 0.0) + term.item()
    norm = nn.utils.clip_grad_norm_(run.weights.values(), settings.clip_norm)
    line = {"step": run.step, "loss": sum(terms.values()), **terms, "gradient_norm": norm.item(), "lr": lr}
    _check_finite(line, terms, progressing)
    before = (
        {name: weight.detach().clone() for name, weight in run.weights.items()} if method.after_step else {}
    )
    optimiser.step()
    if method.after_step:
        with torch.no_grad():
            method.after_step(run, before)
    if settings.ema:
        average(progressing.mean, run.weights, settings.ema)
    return line


def trained(model: Model, method: Method) -> dict[str, nn.Parameter]:
    """Switch gradients on for what a method trains and off for all else.

    Returns:
        The parameters that train, by name.
    """
    everything = model.parameters_by_name()
    chosen = params.select(everything, method.trains)
    model.requires_grad_(False)
    weights = {name: everything[name] for name in chosen}
    for parameter in weights.values():
        parameter.requires_grad_(True)
    return weights


def describe(model: Model, recipe: Recipe) -> dict[str, Any]:
    """What a checkpoint says of itself (docs/checkpoint.md), but for the run."""
    return {
        "architecture": model.architecture,
        "preprocessing": asdict(model.preprocessing),
        "classes": list(model.labels.classes),
        "templates": list(model.labels.templates),
        "logit_scale": model.clip.logit_scale.exp().item(),
        "data": recipe.data.test or recipe.data.train,
        "method": recipe.method,
        "recipe": recipe.model_dump(mode="json"),
    }


def _parts(batch: Batch, count: int) -> Iterator[tuple[Batch, float]]:
    """A batch in parts of nearly equal size, each with its share of the whole."""
    n = len(batch.labels)
    bounds = [round(i * n / count) for i in range(count + 1)]
    for low, high in itertools.pairwise(bounds):
        if high > low:
            part = Batch(batch.images[low:high], batch.labels[low:high], batch.domains[low:high])
            yield part, (high - low) / n


@contextmanager
def _seeded(run: Run) -> Iterator[None]:
    """Seed what layers draw of torch's own generators, as dropout does, by the step; they are put back after."""
    seed = derive_seed(run.seed, "network", run.step)
    cuda = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT, so that the step that runs is finished; a second one interrupts at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_finite(line: Mapping[str, float | int], terms: Mapping[str, float], progressing: Progress) -> None:
    loss, norm = line["loss"], line["gradient_norm"]
    if not (math.isfinite(loss) and math.isfinite(norm)):
        parts = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        raise progressing.failed(
            f"loss {loss} ({parts}), norm of its gradient {norm}, learning rate {line['lr']:.2g}"
        )
