"""How a checkpoint is judged: accuracy in and out of distribution and under attack, on the same samples for all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geomlab.data import sources
from geomlab.data.attacks import PGD
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition, Domain, Shift
from geomlab.data.source import Source
from geomlab.risk import check_finite, sample_losses
from geomlab.subject import Subject
from geomlab.typing import Bool, Params
from grace.bench import apgd
from grace.bench.heldback import HeldBack
from grace.bench.statistics import harmonic_mean

BATCH = 256
SEED = 0  # of the choice of samples and of the attacks' starts: the same for every run that is judged
ALL = 2**62  # as many samples as there are
_STATISTICS = (".running_mean", ".running_var")
CLEAN, PGD_STEPS = "clean", 20
PGD_NAME = f"pgd-{PGD_STEPS}"


@dataclass(frozen=True)
class Scores:
    """What a network is worth.

    Attributes:
        accuracy: by condition: `clean`, `domain:NAME`, `pgd-20` and `apgd-ce`.
        n: samples of each condition.
        adv: share of the clean condition's samples that are right under every attack.
    """

    accuracy: Mapping[str, float]
    n: Mapping[str, int]
    adv: float

    @property
    def id(self) -> float:
        """Accuracy on the first domain."""
        return self.accuracy[CLEAN]

    @property
    def ood(self) -> float | None:
        """Mean over the other domains; None where there are none."""
        others = [value for name, value in self.accuracy.items() if name.startswith("domain:")]
        return sum(others) / len(others) if others else None

    @property
    def harmonic_mean(self) -> float | None:
        """Of ID, OOD and Adv; None where OOD is."""
        return None if self.ood is None else harmonic_mean([self.id, self.ood, self.adv])

    def as_json(self) -> dict[str, Any]:
        """All of them, in plain types."""
        axes = {"id": self.id, "ood": self.ood, "adv": self.adv, "harmonic_mean": self.harmonic_mean}
        return {**axes, "accuracy": dict(self.accuracy), "n": dict(self.n)}


@dataclass(frozen=True)
class Judge:
    """What a network is judged on.

    Attributes:
        data: SPEC of the data.
        eps: ℓ∞ radius of the attacks, in pixel units of [0, 1].
        samples: of each condition, class-balanced; None takes all.
        held_back: judge on this share of the data instead, as `data.validation` holds it back; 0 judges on all.
        thorough: whether APGD-CE attacks besides PGD.
    """

    data: str
    eps: float
    samples: int | None = None
    held_back: float = 0.0
    thorough: bool = True

    def as_json(self) -> dict[str, Any]:
        """What must be the same for scores to be comparable."""
        return asdict(self) | {"seed": SEED}

    def open(self) -> Source:
        """The data.

        Raises:
            UserError: if it cannot be opened.
        """
        source = sources.open_source(self.data)
        return HeldBack(source, self.held_back) if self.held_back else source

    def __call__(self, network: Subject) -> Scores:
        """Judge a network.

        Raises:
            UserError: if the data does not fit it, or its loss is not finite.
        """
        source = self.open()
        inputs = self._condition(CLEAN, None, source).realise(network)
        right = {CLEAN: _right(network, inputs, CLEAN)}
        for name in source.domains[1:]:
            condition = self._condition(f"domain:{name}", Domain(name), source)
            right[condition.name] = _right(network, condition.realise(network, inputs), condition.name)
        pgd = self._condition(PGD_NAME, PGD(self.eps, PGD_STEPS), source)
        right[PGD_NAME] = _right(network, pgd.realise(network, inputs), PGD_NAME)
        attacks = [PGD_NAME]
        if self.thorough:
            attacked = apgd.apgd(
                network, inputs.images, inputs.labels, eps=self.eps, seed=SEED, batch_size=BATCH
            )
            right[apgd.NAME] = _right(network, replace(inputs, images=attacked), apgd.NAME)
            attacks.append(apgd.NAME)
        under_all = torch.stack([right[name] for name in attacks]).all(dim=0)
        accuracy = {name: _share(found) for name, found in right.items()}
        return Scores(accuracy, {name: len(found) for name, found in right.items()}, _share(under_all))

    def _condition(self, name: str, shift: Shift, source: Source) -> Condition:
        n = ALL if self.samples is None else self.samples
        return Condition(name, name, source, shift, n, SEED, BATCH)


def drift(start: Params, end: Params) -> float:
    """‖θ − θ0‖ / ‖θ0‖ over the tensors of the image tower that the start has.

    So prompts, which it has not, move nothing: the tower beside them is what it was. Running statistics and counters
    are left out.

    Args:
        start: θ0, tensors by the names of a checkpoint.
        end: θ, adapters merged.
    """
    moved = total = 0.0
    for name, before in start.items():
        weight = before.is_floating_point() and not name.endswith(_STATISTICS)
        if weight and name.startswith("visual."):
            reference: Tensor = before.double()
            moved += float((end[name].double() - reference).square().sum())
            total += float(reference.square().sum())
    return float((moved / total) ** 0.5)


def _right(network: Subject, batches: Batches, name: str) -> Bool[Tensor, "n"]:
    found = sample_losses(network, batches)
    check_finite(found, network, name)
    return found.correct.cpu()


def _share(right: Bool[Tensor, "n"]) -> float:
    return int(right.sum()) / len(right)
