"""Accuracy of a checkpoint under conditions, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geomlab import checkpoint, progress, stats, subject
from geomlab.data import sources
from geomlab.data.condition import Condition, parse_conditions
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.risk import check_finite, sample_losses
from geomlab.spec import escape, parse
from geomlab.subject import Subject

BATCH = 256


@dataclass(frozen=True)
class Accuracy:
    """How many of n samples are right under a condition.

    Attributes:
        condition: its name.
        correct: samples whose largest logit is the label's.
        n: samples.
    """

    condition: str
    correct: int
    n: int

    @property
    def value(self) -> float:
        """The share that is right."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return stats.wilson(self.correct, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.condition:<36} {self.value:8.3f}  [{low:.3f}, {high:.3f}]  n={self.n}"


def evaluate(
    path: Path,
    *,
    data: str | None = None,
    model: str | None = None,
    conditions: Sequence[str] = (),
    n: int = 1000,
    seed: int = 0,
) -> list[Accuracy]:
    """Accuracy of a checkpoint under each condition.

    Args:
        path: of the checkpoint.
        data: data SPEC; None takes what the checkpoint records.
        model: model SPEC; None takes what the checkpoint records.
        conditions: condition SPECs; none takes clean, every other domain, and the data's PGD.
        n: samples a condition, class-balanced; all where there are fewer.
        seed: of the choice of samples and of the attack's starts.

    Raises:
        UserError: if the checkpoint, the data or a condition cannot be used.
    """
    found = checkpoint.read(path)
    source = sources.open_recorded(found.metadata.get("data"), data)
    if source is None:
        raise UserError(f"{path}: the checkpoint names no data; give --data SPEC")
    network = subject.load(found, model=model, labels=source.labels)
    chosen = parse_conditions(conditions or standard(source), source, n=n, seed=seed, batch_size=BATCH)
    with progress.bar(len(chosen), "evaluate") as bar:
        results = []
        for condition in chosen:
            bar.step(condition.name)
            results.append(accuracy(network, condition))
            bar.advance()
    return results


def standard(source: Source) -> list[str]:
    """Clean, every other domain, and PGD as the data asks for it."""
    attacks = [text for text in source.conditions if parse(text).head == "pgd"] or ["pgd"]
    return ["clean", *(f"domain:{escape(domain)}" for domain in source.domains[1:]), *attacks]


def accuracy(network: Subject, condition: Condition) -> Accuracy:
    """Accuracy under one condition."""
    found = sample_losses(network, condition.realise(network))
    check_finite(found, network, condition.name)
    return Accuracy(condition.name, int(found.correct.sum()), len(found.correct))
