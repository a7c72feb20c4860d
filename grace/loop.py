"""One loop for every method: batches in a seeded order, AdamW, warm-up and cosine, one step after another."""

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geomlab import checkpoint, params, progress
from geomlab.architectures import Preprocessing
from geomlab.checkpoint import Checkpoint
from geomlab.data import embedded, sources
from geomlab.data.checks import check_labels
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.rng import generator
from geomlab.spec import parse
from grace import methods
from grace import model as models
from grace.batches import Pool, training_domains
from grace.method import Method
from grace.model import Model
from grace.recipe import Optimisation, Recipe


@dataclass(frozen=True)
class Files:
    """What a run writes: the checkpoint, and a JSON line a step beside it. Both appear when the run is complete.

    Attributes:
        folder: of both.
        method: its name is theirs.
    """

    folder: Path
    method: str

    @property
    def checkpoint(self) -> Path:
        """The network."""
        return self.folder / f"{self.method}.pt"

    @property
    def metrics(self) -> Path:
        """A JSON line a step."""
        return self.folder / f"{self.method}.jsonl"

    @property
    def running(self) -> Path:
        """The metrics while the run goes on, and of one that failed."""
        return self.folder / f"{self.method}.jsonl.part"


def train(
    recipe: Recipe,
    out: Path,
    *,
    initial: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
) -> Checkpoint:
    """Train by a recipe and write `OUT/<method>.pt` and `OUT/<method>.jsonl`.

    Args:
        recipe: what to do.
        out: folder.
        initial: a checkpoint file, `open_clip:NAME[,pretrained=TAG]` or `embedded:NAME`. None takes a random
            initialisation for a method that starts from scratch, else the recipe's `data.initial`.
        seed: of initialisation, order, augmentation and the method's own draws.
        device: of torch.
        overwrite: whether files of an earlier run may be replaced; they are when this one is complete.

    Returns:
        The checkpoint as written.

    Raises:
        UserError: if a file is there already, the start or the data does not fit, the warm-up takes all steps, or
            the loss is no longer finite.
    """
    method = methods.get(recipe.method)
    written = Files(out, method.name)
    if not overwrite:
        _check_absent(written)
    source = sources.open_source(recipe.data.train)
    _check_disjoint(recipe, source)
    model, origin = start(recipe, method, source, initial, seed)
    model.to(device).eval()
    method.prepare(model)
    domains = training_domains(source, recipe.data.domains, recipe.data.held_out)
    size, batch_size = model.preprocessing.size, recipe.optimisation.batch_size
    pool = Pool(source, domains, size, batch_size, recipe.data.shift, recipe.data.flip, seed)
    steps = recipe.optimisation.steps(pool.steps_per_epoch)
    _check_fits(model, pool)
    _make_room(written)
    run(model, method, recipe, pool, written.running)
    about = describe(model, recipe) | {"step": steps, "seed": seed, "initial": origin}
    found = checkpoint.write(written.checkpoint, model.tensors(), about)
    written.running.replace(written.metrics)
    return found


def start(
    recipe: Recipe, method: Method, source: Source, initial: str | None, seed: int
) -> tuple[Model, str | None]:
    """The model that training starts from, and the digest of its tensors, None where they are random.

    Raises:
        UserError: if there is nothing to start from, or it does not fit.
    """
    labels = source.labels
    where = initial if method.from_scratch else initial or recipe.data.initial
    if where is None and method.from_scratch and recipe.architecture and labels:
        architecture = recipe.architecture.model_dump()
        mean, std = architecture.pop("mean"), architecture.pop("std")
        preprocessing = Preprocessing(architecture["vision_cfg"]["image_size"], mean, std)
        return models.from_scratch(architecture, labels, preprocessing, seed), None
    if where is None:
        raise UserError(f"{method.name} on {recipe.data.train} has nothing to start from; give --from CKPT")
    if where.startswith("open_clip:"):
        model = models.from_open_clip(where, labels, seed)
        return model, params.digest(model.tensors())
    name = where.removeprefix("embedded:")
    found = checkpoint.read(embedded.checkpoint_path(name) if name != where else Path(where))
    return models.from_checkpoint(found, labels), found.digest


def run(model: Model, method: Method, recipe: Recipe, pool: Pool, metrics: Path) -> None:
    """Train a model in place, one JSON line of metrics a step.

    Raises:
        UserError: if images cannot be used; with the step, if the loss or its gradient is not finite.
    """
    settings = recipe.optimisation
    steps = settings.steps(pool.steps_per_epoch)
    weights = trained(model, method)
    optimiser = make_optimiser(weights.values(), settings)
    device = next(iter(weights.values())).device
    model.train()
    begun = time.monotonic()
    with progress.bar(steps, method.name) as bar, metrics.open("w", encoding="utf-8") as log:
        for step in range(steps):
            lr = learning_rate(step, steps, settings)
            for group in optimiser.param_groups:
                group["lr"] = lr
            batch = pool.batch(step).to(device)
            terms = method.loss(model, batch, recipe.options, generator(pool.seed, "loss", step))
            loss = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(weights.values(), settings.clip_norm)
            line = {"step": step, "loss": loss.item(), **{name: term.item() for name, term in terms.items()}}
            line |= {"gradient_norm": norm.item(), "lr": lr}
            _check_finite(line)
            optimiser.step()
            log.write(json.dumps(line) + "\n")
            rate = (step + 1) / (time.monotonic() - begun)
            bar.step(f"{method.name}  loss {line['loss']:.3f}  {rate:.1f} steps/s")
            bar.advance()
    model.eval()


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


def make_optimiser(weights: Iterable[nn.Parameter], settings: Optimisation) -> torch.optim.AdamW:
    """AdamW; gains, biases and the logit scale are not decayed, as in open_clip."""
    weights = list(weights)
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def learning_rate(step: int, steps: int, settings: Optimisation) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero, as in open_clip.

    Args:
        step: from 0.
        steps: of the whole run, more than the warm-up has.
        settings: peak and length of the warm-up.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / (steps - settings.warmup)
    return settings.lr * (1 + math.cos(math.pi * done)) / 2


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


def _check_absent(written: Files) -> None:
    there = [path for path in (written.checkpoint, written.metrics) if path.exists()]
    if there:
        raise UserError(f"{there[0]} is there already; choose another --out, or --overwrite to replace it")


def _make_room(written: Files) -> None:
    try:
        written.folder.mkdir(parents=True, exist_ok=True)
        written.running.write_text("")
    except OSError as error:
        why = f"cannot write there ({error.strerror})"
        raise UserError(f"{error.filename}: {why}; choose another --out") from error


def _check_disjoint(recipe: Recipe, source: Source) -> None:
    """Refuse to train on test samples. Their ids can be compared where both SPECs name the same place."""
    test = recipe.data.test
    if test is None or _place(test) != _place(recipe.data.train):
        return
    judged = sources.open_source(test)
    shared = {str(name) for domain in source.domains for name in source.index(domain).ids} & {
        str(name) for domain in judged.domains for name in judged.index(domain).ids
    }
    if shared:
        raise UserError(
            f"data.train={recipe.data.train} shares {len(shared)} samples with data.test={test}; "
            "train on another split"
        )


def _check_fits(model: Model, pool: Pool) -> None:
    """Refuse images that the model cannot take and labels outside its classes before the first step."""
    where = pool.source.spec
    try:
        classes = model.outputs(pool.example.to(model.get_buffer("mean").device))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    for domain, labels in zip(pool.domains, pool.labels, strict=True):
        check_labels(labels, classes, f"{where}, {domain}")


def _place(text: str) -> tuple[str, str]:
    return parse(text).head, parse(text).positional


def _check_finite(line: Mapping[str, float | int]) -> None:
    loss, norm = line["loss"], line["gradient_norm"]
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise UserError(
            f"step {line['step']}: loss {loss}, norm of its gradient {norm}, learning rate {line['lr']:.2g}; "
            "no checkpoint was written, lower optimisation.lr or lengthen optimisation.warmup"
        )
