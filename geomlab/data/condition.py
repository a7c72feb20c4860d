"""A condition: which inputs a measure is taken under."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomlab.data import attacks
from geomlab.data.attacks import Attack
from geomlab.data.batches import Batches
from geomlab.data.checks import check_images, check_labels
from geomlab.data.corruptions import CORRUPTIONS
from geomlab.data.draw import draw, rows_of, said
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.rng import derive_seed, generator
from geomlab.spec import Spec, integer, parse
from geomlab.subject import Subject
from geomlab.typing import Float, Images

Rows = NDArray[np.intp]

KNOWN = (
    "clean",
    *attacks.KNOWN,
    "domain:NAME",
    f"corruption:{next(iter(CORRUPTIONS))}[,severity=3] or {len(CORRUPTIONS) - 1} others",
)


@dataclass(frozen=True)
class Domain:
    """Another domain of the source."""

    name: str


@dataclass(frozen=True)
class Corruption:
    """A corruption of the clean images at a severity of 1 to 5."""

    name: str
    severity: int = 3


Shift = Attack | Domain | Corruption | None


@dataclass(frozen=True)
class Condition:
    """Inputs of one kind: a source, what is done to its images, how many, and the seed.

    Attributes:
        name: as shown and as a key of the results, for example `pgd` or `domain:sketch`.
        spec: the whole SPEC.
        source: where the images come from.
        shift: an attack, a domain, a corruption, or None for clean.
        n: number of samples, class-balanced.
        seed: of the choice of samples and of all noise.
        batch_size: samples a batch; it changes no number but for rounding.
    """

    name: str
    spec: str
    source: Source
    shift: Shift
    n: int
    seed: int
    batch_size: int

    @property
    def kind(self) -> str:
        """`clean`, `adversarial`, `domain` or `corruption`."""
        if self.shift is None:
            return "clean"
        return {Domain: "domain", Corruption: "corruption"}.get(type(self.shift), "adversarial")

    def clean(self, subject: Subject) -> Batches:
        """Draw the samples as they are: what a shift starts from and is compared with.

        Args:
            subject: whose input size is used.

        Raises:
            UserError: as `realise`.
        """
        _check_classes(subject, self.source)
        domain = self.source.domains[0]
        size = subject.preprocessing.frame
        rows, images = draw(self.source, domain, self.n, derive_seed(self.seed, "samples"), size)
        images, labels = self._on(subject, domain, rows, images)
        samples, warnings = self._samples(domain, rows), said(self.source, domain)
        return Batches(images, labels, self.batch_size, images, labels, True, samples, warnings)

    def realise(self, subject: Subject, clean: Batches | None = None) -> Batches:
        """Draw and shift the samples; the same call gives the same batches.

        Args:
            subject: whose input size is used and which an attack is run against.
            clean: what `clean` gives, where it is at hand already.

        Raises:
            UserError: if images are not finite or outside [0, 1], a label is outside the head, or the classes differ.
        """
        clean = self.clean(subject) if clean is None else clean
        images, labels, samples = clean.images, clean.labels, clean.samples
        match self.shift:
            case None:
                return clean
            case Domain(name):
                return self._domain(name, subject, clean)
            case Corruption(name, severity):
                noise = generator(self.seed, "corruption", self.spec)
                images = CORRUPTIONS[name](images, severity, noise)
            case attack:
                images = self._attack(attack, subject, images, labels)
        return Batches(
            images, labels, self.batch_size, clean.images, clean.labels, True, samples, clean.warnings
        )

    def _domain(self, name: str, subject: Subject, clean: Batches) -> Batches:
        """The clean samples in another domain if it has them all, else a subset of its own."""
        rows, size = self._twins(name), subject.preprocessing.frame
        if rows is None:
            seed = derive_seed(self.seed, "samples", name)
            rows, images = draw(self.source, name, self.n, seed, size)
            paired, samples = False, self._samples(name, rows)
        else:
            images, paired, samples = self.source.images(name, rows, size), True, clean.samples
        images, labels = self._on(subject, name, rows, images)
        return Batches(
            images, labels, self.batch_size, clean.images, clean.labels, paired, samples,
            said(self.source, name), self.source.groups.get(name),
        )  # fmt: skip

    def _samples(self, domain: str, rows: Rows) -> str:
        chosen = "\n".join([self.source.spec, *self.source.index(domain).ids[rows]])
        return hashlib.sha256(chosen.encode(errors="surrogatepass")).hexdigest()

    def _on(self, subject: Subject, domain: str, rows: Rows, images: Tensor) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(self.source.index(domain).labels[rows])
        _check(images, labels, f"{self.source.spec}, {domain}", subject)
        return images.to(subject.device, subject.dtype), labels.to(subject.device)

    def _twins(self, domain: str) -> Rows | None:
        """Rows of the clean samples in another domain, None where it lacks one."""
        first = self.source.domains[0]
        where = {name: row for row, name in enumerate(self.source.index(domain).ids)}
        rows = rows_of(self.source, first, self.n, derive_seed(self.seed, "samples"))
        chosen = self.source.index(first).ids[rows]
        return np.array([where[name] for name in chosen]) if all(name in where for name in chosen) else None

    def _attack(self, attack: Attack, subject: Subject, images: Tensor, labels: Tensor) -> Tensor:
        attacked = torch.empty_like(images)
        for at in range(0, len(images), self.batch_size):
            rows = slice(at, at + self.batch_size)
            start = self.starts(attack, images[rows], first=at)
            attacked[rows] = attack(subject, images[rows], labels[rows], start)
        return attacked

    def starts(self, attack: Attack, images: Images, *, first: int = 0) -> Float[Tensor, "r n c h w"]:
        """Where the attack's restarts begin, in [-1, 1]; each sample has its own, so the batch size changes nothing.

        Args:
            attack: the condition's.
            images: (n, C, H, W) clean ones, in order.
            first: number of the first of them among the condition's samples.
        """

        def start(number: int, image: Tensor) -> Tensor:
            noise = generator(self.seed, "attack", self.spec, number)
            return (torch.rand((attack.restarts, *image.shape), generator=noise) * 2 - 1).to(image)

        return torch.stack([start(first + i, image) for i, image in enumerate(images)], 1)


def _check_classes(subject: Subject, source: Source) -> None:
    """Refuse data that numbers its classes otherwise than the network: every label would mean another class."""
    ours, theirs = subject.classes, source.classes
    if ours is None or theirs is None or ours == theirs:
        return
    pairs = [f"{i}: {a} / {b}" for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    what = "; ".join(pairs[:3]) or f"{len(ours)} / {len(theirs)} of them"
    raise UserError(
        f"{source.spec}: its classes are not those of {subject.name}, or in another order "
        f"(network / data: {what}); use data whose classes have the network's names and order"
    )


def _check(images: Tensor, labels: Tensor, where: str, subject: Subject) -> None:
    check_images(images, where)
    try:
        classes = subject.outputs(images[:2].to(subject.device, subject.dtype))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if subject.classes is not None and len(subject.classes) != classes:
        raise UserError(
            f"{where}: {subject.name} has a head of {classes} classes and the names of {len(subject.classes)}; "
            "write the checkpoint with its own class names, or use data of that many classes"
        )
    check_labels(labels, classes, where)


def parse_conditions(
    texts: Sequence[str], source: Source, *, n: int, seed: int, batch_size: int
) -> tuple[Condition, ...]:
    """Conditions of SPECs, each with a name of its own: the SPEC's head where that is unique, else all of it.

    Raises:
        UserError: if a condition does not exist, listing what does, or is given twice.
    """
    parsed = [(parse(text), _shift(parse(text), source)) for text in texts]
    heads = [_head(spec) for spec, _ in parsed]
    names = [
        head if heads.count(head) == 1 else spec.text for head, (spec, _) in zip(heads, parsed, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UserError(f"a condition is given twice: {', '.join(texts)}")
    return tuple(
        Condition(name, spec.text, source, shift, n, seed, batch_size)
        for name, (spec, shift) in zip(names, parsed, strict=True)
    )


def _head(spec: Spec) -> str:
    return f"{spec.head}:{spec.positional}" if spec.positional else spec.head


def _shift(spec: Spec, source: Source) -> Shift:
    attack = attacks.attack_of(spec)
    if attack is not None:
        return attack
    match spec.head:
        case "clean":
            spec.only()
            return None
        case "domain":
            spec.only()
            if spec.positional not in source.domains:
                raise UserError(f"'{spec.text}': {source.spec} has the domains {', '.join(source.domains)}")
            return Domain(spec.positional)
        case "corruption":
            spec.only("severity")
            if spec.positional not in CORRUPTIONS:
                raise UserError(f"'{spec.text}': there are the corruptions {', '.join(CORRUPTIONS)}")
            severity = integer(spec, "severity", 3)
            if severity > 5:
                raise UserError(f"'{spec.text}': severity is 1 to 5, got {severity}")
            return Corruption(spec.positional, severity)
        case _:
            raise UserError(f"no condition '{spec.text}'; there are {', '.join(KNOWN)}")
