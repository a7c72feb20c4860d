"""What a training step sees: samples of the chosen domains in a seeded order, augmented."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from geomlab.architectures import Size
from geomlab.data.checks import check_images
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.rng import derive_seed, generator
from geomlab.typing import Images, Labels


@dataclass(frozen=True, eq=False)
class Batch:
    """Labelled images of a training step.

    Attributes:
        images: (n, C, H, W) in [0, 1].
        labels: (n,) classes.
        domains: (n,) name of each image's domain.
    """

    images: Images
    labels: Labels
    domains: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.images.to(device), self.labels.to(device), self.domains)


@dataclass(frozen=True, eq=False)
class Pool:
    """All training samples; a step's batch depends on the seed and the step alone.

    Attributes:
        source: where the images come from.
        domains: the domains trained on.
        size: side of the images in pixels, or None.
        batch_size: samples a step; all of them where there are fewer.
        shift: images are moved by up to this many pixels either way.
        flip: whether half of the images are mirrored.
        seed: of the order and the augmentation.
        between: bounds in [0, 1]: a sample belongs to the pool if a number derived from its id lies between them. So
            a sample that is in one pool in one domain is in it in all, whatever the seed.
    """

    source: Source
    domains: tuple[str, ...]
    size: Size
    batch_size: int
    shift: int
    flip: bool
    seed: int
    between: tuple[float, float] = (0.0, 1.0)

    def __len__(self) -> int:
        return sum(map(len, self.labels))

    @cached_property
    def labels(self) -> tuple[Labels, ...]:
        """Class numbers (n,) of each domain's samples."""
        return tuple(
            torch.from_numpy(self.source.index(domain).labels[rows])
            for domain, rows in zip(self.domains, self.rows, strict=True)
        )

    @cached_property
    def rows(self) -> tuple[NDArray[np.intp], ...]:
        """Of each domain, the positions in its index of the samples that belong to the pool."""
        low, high = self.between
        every = (self.source.index(domain).ids for domain in self.domains)
        if (low, high) == (0.0, 1.0):
            return tuple(np.arange(len(ids)) for ids in every)
        places = (np.array([derive_seed(0, "validation", name) / 2**63 for name in ids]) for ids in every)
        return tuple(np.flatnonzero((low <= place) & (place < high)) for place in places)

    @cached_property
    def example(self) -> Images:
        """The first image (1, C, H, W); all others must have its shape.

        Raises:
            UserError: if there is none, or as `batch`.
        """
        for domain, rows in zip(self.domains, self.rows, strict=True):
            if len(rows):
                return self._read(domain, rows[:1])
        raise UserError(f"{self.source.spec}: no images in {', '.join(self.domains)}; check data.train")

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch, at least one; what is left over sits out until the next shuffle."""
        return max(1, len(self) // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0.

        Raises:
            UserError: if images are not finite, outside [0, 1] or of several shapes.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        chosen = _order(len(self), self.seed, epoch)[place * self.batch_size :][: self.batch_size]
        images: list[Tensor] = []
        labels: list[Tensor] = []
        domains: list[str] = []
        start = 0
        for domain, own, known in zip(self.domains, self.rows, self.labels, strict=True):
            rows = chosen[(chosen >= start) & (chosen < start + len(known))] - start
            if len(rows):
                images.append(self._read(domain, own[rows]))
                self._check_shape(domain, images[-1])
                labels.append(known[torch.from_numpy(rows)])
                domains += [domain] * len(rows)
            start += len(known)
        augmented = augment(torch.cat(images), self.shift, self.flip, generator(self.seed, "augment", step))
        return Batch(augmented, torch.cat(labels), tuple(domains))

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, not augmented: domain after domain, each in the order of its index.

        Raises:
            UserError: as `batch`.
        """
        for domain, own, known in zip(self.domains, self.rows, self.labels, strict=True):
            for start in range(0, len(own), self.batch_size):
                part = slice(start, start + self.batch_size)
                images = self._read(domain, own[part])
                self._check_shape(domain, images)
                yield Batch(images, known[part], (domain,) * len(images))

    def _read(self, domain: str, rows: NDArray[np.intp]) -> Images:
        images = self.source.images(domain, rows, self.size)
        check_images(images, f"{self.source.spec}, {domain}")
        return images

    def _check_shape(self, domain: str, images: Images) -> None:
        expected, got = tuple(self.example.shape[1:]), tuple(images.shape[1:])
        if got != expected:
            raise UserError(
                f"{self.source.spec}, {domain}: images of shape {got} among those of shape {expected}; "
                "give all the same shape"
            )


def training_domains(source: Source, wanted: str | Sequence[str], held_out: Sequence[str]) -> tuple[str, ...]:
    """The domains a method trains on.

    Args:
        source: the training data.
        wanted: `id` (the first domain), `all` (those not held out), or names.
        held_out: domains no method may see.

    Raises:
        UserError: if a name is unknown or held out.
    """
    if wanted == "id":
        wanted = source.domains[:1]
    elif wanted == "all":
        wanted = [domain for domain in source.domains if domain not in held_out]
    allowed = [domain for domain in source.domains if domain not in held_out]
    refused = [domain for domain in wanted if domain not in allowed]
    if refused or not wanted:
        raise UserError(
            f"data.domains: cannot train on {', '.join(refused) or 'none'}; it has {', '.join(allowed)}"
        )
    return tuple(wanted)


def augment(images: Images, shift: int, flip: bool, rng: torch.Generator) -> Images:
    """Move each image by whole pixels, its border repeated, and mirror half of them.

    Args:
        images: (n, C, H, W).
        shift: largest move in pixels.
        flip: whether to mirror.
        rng: a CPU generator.
    """
    n, channels, height, width = images.shape
    if shift:
        padded = F.pad(images, (shift,) * 4, mode="replicate")
        down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=rng)
        rows, columns = down + torch.arange(height), right + torch.arange(width)
        which, channel = torch.arange(n).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
        images = padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]
    if flip:
        mirrored = torch.rand(n, 1, 1, 1, generator=rng) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    return images


@lru_cache(maxsize=1)
def _order(n: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return np.asarray(torch.randperm(n, generator=generator(seed, "order", epoch)).numpy(), dtype=np.intp)
