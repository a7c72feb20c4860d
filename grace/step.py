"""One step of the optimiser, and what changes with it: all that a run which goes on has to know."""

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geomlab.errors import NotFinite, UserError
from geomlab.rng import derive_seed
from grace import state
from grace.batches import Batch
from grace.method import Method
from grace.optimise import average, learning_rate
from grace.run import Run


class Diverged(UserError):
    """The loss, its gradient or an attack's is no longer finite."""


@dataclass(eq=False)
class Progress:
    """What changes from step to step besides the run: its optimiser, the average of its weights, its last terms."""

    run: Run
    optimiser: torch.optim.Optimizer
    path: Path
    identity: Mapping[str, Any]
    mean: dict[str, Tensor] = field(default_factory=dict)
    saved: int | None = None
    terms: Mapping[str, float] = field(default_factory=dict)

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
            kept = f"{self.path} holds the last good state, after {self.saved} steps"
        return Diverged(
            f"step {self.run.step}: {why}; no checkpoint was written, {kept}; begin anew with a lower "
            "optimisation.lr or a longer optimisation.warmup"
        )

    @torch.no_grad()
    def check_sound(self) -> None:
        """Try the network that the present step has left, so that no state or checkpoint is written that goes nowhere.

        Raises:
            Diverged: if a weight that trains, or a feature of the step's batch, is not finite.
        """
        run = self.run
        run.model.eval()
        try:
            features = run.model.encode(run.pool.batch(run.step).images.to(run.device))
        finally:
            run.model.train()
        found = (*run.weights.values(), features.norm(dim=1))
        if not all(bool(tensor.isfinite().all()) for tensor in found):
            raise self.failed("its update leaves a network whose weights or features are not finite")

    @torch.no_grad()
    def load(self) -> None:
        """Be where the saved run was.

        Raises:
            UserError: if it cannot be read, or is of another run.
        """
        found = state.load(self.path, run=self.identity)
        tensors, device = found["tensors"], self.run.device
        weights: dict[str, Tensor] = {**self.run.weights}
        own = {"weights": weights, "buffers": dict(self.run.model.named_buffers())}
        try:
            for part, kept in own.items():
                for key, tensor in kept.items():
                    tensor.copy_(tensors[part][key])
            self.run.memory = {name: tensor.to(device) for name, tensor in tensors["memory"].items()}
            self.mean = {name: tensor.to(device) for name, tensor in tensors["mean"].items()}
            self.optimiser.load_state_dict(found["optimiser"])
            self.run.step = self.saved = found["run"]["step"]
        except (KeyError, RuntimeError, ValueError) as error:  # something is missing, or of another shape
            raise UserError(f"{self.path}: not a whole state of a run; --overwrite to begin anew") from error


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
            except NotFinite as error:  # this step has no loss: the terms of the last one say what led to it
                earlier = f"; terms of the loss a step before: {_said(progressing.terms)}"
                raise progressing.failed(f"{error}{earlier if progressing.terms else ''}") from error
            torch.stack(list(found.values())).sum().backward()
            for name, term in found.items():
                terms[name] = terms.get(name, 0.0) + term.item()
    norm = nn.utils.clip_grad_norm_(run.weights.values(), settings.clip_norm)
    line = {"step": run.step, "loss": sum(terms.values()), **terms, "gradient_norm": norm.item(), "lr": lr}
    _check_finite(line, terms, progressing)
    progressing.terms = terms
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


def _check_finite(line: Mapping[str, float | int], terms: Mapping[str, float], progressing: Progress) -> None:
    loss, norm = line["loss"], line["gradient_norm"]
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise progressing.failed(
            f"loss {loss} ({_said(terms)}), norm of its gradient {norm}, learning rate {line['lr']:.2g}"
        )


def _said(terms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
