"""One loop for every method: batches in a seeded order, step after step; it can stop and go on at any of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geomlab import checkpoint, params, progress
from geomlab.architectures import HEAD
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from grace import adapters, lora, methods, metrics, signals
from grace.method import Method
from grace.model import Model
from grace.optimise import make_optimiser
from grace.outputs import Files
from grace.run import Run
from grace.settings import Recipe
from grace.start import start_run
from grace.state import differences
from grace.step import Progress, take_step


@dataclass(frozen=True)
class Conduct:
    """How a run is carried out; nothing here changes what comes of it.

    Attributes:
        overwrite: whether files of an earlier run may be replaced; they are when this one is complete.
        resume: whether a run that was stopped goes on; it begins where there is none, and one that is complete stays.
        checkpoint_every: steps after which the state is saved, again and again; on a signal and after the
            last step it is saved in any case.
        log: where metrics go besides the JSON lines, of `metrics.LOGGERS`.
    """

    overwrite: bool = False
    resume: bool = False
    checkpoint_every: int | None = None
    log: tuple[str, ...] = ()


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
        Diverged: if the loss or the network is no longer finite.
        Interrupted: after SIGTERM or SIGINT.
    """
    conduct = conduct or Conduct()
    method = methods.get(recipe.method)
    written = Files(out, method.name)
    metrics.require(conduct.log)
    if not conduct.overwrite:
        written.check_absent(resume=conduct.resume)
    run, origin = start_run(recipe, initial, seed, device)
    model, identity = run.model, identify(recipe, seed, origin)
    goes_on = conduct.resume and written.unfinished
    if conduct.resume and written.checkpoint.exists() and not goes_on:
        return complete(written, identity)
    prepare(run, method)
    written.make_room(resume=goes_on)
    fit(run, method, written, identity, conduct)
    method.finish(run)
    about = describe(model, recipe) | identity | {"step": run.steps}
    factors = lora.factors(model.clip)
    if factors:
        head = {} if model.head is None else {HEAD: model.head.weight}
        adapters.write(written.adapters, factors | head, origin, about, run.lora.scale)
    found = checkpoint.write(written.checkpoint, model.tensors(), about)
    written.running.replace(written.metrics)
    written.state.unlink(missing_ok=True)
    return found


def identify(recipe: Recipe, seed: int, origin: str | None) -> dict[str, Any]:
    """What is the same for the same run, in JSON's types: its checkpoint, its state and its metrics say it."""
    return {"seed": seed, "initial": origin, "recipe": recipe.model_dump(mode="json")}


def complete(written: Files, identity: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a run that is complete; what a stop right after it was written left is put in order.

    Raises:
        UserError: if it cannot be read, or is of another run.
    """
    found = checkpoint.read(written.checkpoint)
    different = differences(found.metadata, identity)
    if different:
        raise UserError(
            f"{written.checkpoint} is of another run ({', '.join(different)}); give the same command or another "
            "--out, or --overwrite to begin anew"
        )
    if not written.metrics.exists() and written.running.exists():
        written.running.replace(written.metrics)
    written.state.unlink(missing_ok=True)
    return found


def prepare(run: Run, method: Method) -> None:
    """Make the model ready, and choose what trains."""
    method.prepare(run)
    method.warm_start(run)
    run.weights = trained(run.model, method)
    run.anchor = {name: weight.detach().clone() for name, weight in run.weights.items()}


def fit(run: Run, method: Method, written: Files, identity: Mapping[str, Any], conduct: Conduct) -> None:
    """Take all steps that are left, one JSON line of metrics each; after the last the state is saved.

    Raises:
        UserError: if images cannot be used.
        Diverged: with the step, if the loss, its gradient or the network that a step leaves is not finite.
        Interrupted: after SIGTERM or SIGINT.
    """
    if not run.steps:
        return
    optimiser = make_optimiser(run.weights.values(), run.recipe.optimisation)
    progressing = Progress(run, optimiser, written.state, identity)
    if conduct.resume and written.state.exists():
        progressing.load()
    first, every = run.step, conduct.checkpoint_every
    run.model.train()
    begun = time.monotonic()
    with (
        signals.caught() as caught,
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
            # Looked at once: a signal that comes while the state is saved waits for the next step.
            stop = bool(caught)
            if stop or (every and (step + 1) % every == 0) or step + 1 == run.steps:
                progressing.check_sound()
                progressing.save(step + 1)
            if stop:
                raise signals.Interrupted(caught[0], step + 1, run.steps, written.state)
    if progressing.mean:
        with torch.no_grad():
            for name, weight in run.weights.items():
                weight.copy_(progressing.mean[name])
    run.model.eval()


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
        "preprocessing": model.preprocessing.described(),
        "classes": list(model.labels.classes),
        "templates": list(model.labels.templates),
        "logit_scale": model.clip.logit_scale.exp().item(),
        "data": recipe.data.test or recipe.data.train,
        "method": recipe.method,
    }
