"""What a training step sees: samples of the chosen domains in a seeded order, augmented."""

import sys
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
from geomlab.data.decode import stack
from geomlab.data.draw import pass_over
from geomlab.data.source import Source, Unreadable
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
        """The first image (1, C, H, W) that can be read; all others must have its shape.

        Raises:
            UserError: if there is none, or as `batch`.
        """
        for domain, rows in zip(self.domains, self.rows, strict=True):
            for row in rows:
                images, _ = self._read(domain, np.array([row]))
                if len(images):
                    return images
        raise UserError(f"{self.source.spec}: no images in {', '.join(self.domains)}; check data.train")

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch, at least one; what is left over sits out until the next shuffle."""
        return max(1, len(self) // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0; without images that cannot be read, which are named on stderr.

        Raises:
            UserError: if images are not finite, outside [0, 1] or of several shapes; or if none of the batch, or more
                of a domain than the source's `skip`, cannot be read.
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
                read, kept = self._read(domain, own[rows])
                if len(read):
                    self._check_shape(domain, read)
                    images.append(read)
                labels.append(known[torch.from_numpy(rows[kept])])
                domains += [domain] * len(kept)
            start += len(known)
        if not images:
            raise UserError(f"{self.source.spec}: no image of the batch of step {step} can be read")
        augmented = augment(torch.cat(images), self.shift, self.flip, generator(self.seed, "augment", step))
        return Batch(augmented, torch.cat(labels), tuple(domains))

    def in_order(self) -> Iterator[Batch]:
        """Every sample that can be read once, not augmented: domain after domain, each in the order of its index.

        Raises:
            UserError: as `batch`.
        """
        for domain, own, known in zip(self.domains, self.rows, self.labels, strict=True):
            for start in range(0, len(own), self.batch_size):
                part = slice(start, start + self.batch_size)
                images, kept = self._read(domain, own[part])
                if len(images):
                    self._check_shape(domain, images)
                    yield Batch(images, known[part][torch.from_numpy(kept)], (domain,) * len(images))

    def _read(self, domain: str, rows: NDArray[np.intp]) -> tuple[Images, NDArray[np.intp]]:
        """Images, and the positions among the rows of those that can be read."""
        where, kept = f"{self.source.spec}, {domain}", np.arange(len(rows))
        try:
            images = self.source.images(domain, rows, self.size)
        except Unreadable as error:
            known = self.source.skipped.get(domain, {})
            reasons = {int(rows[i]): reason for i, reason in error.reasons.items()}
            for row in reasons.keys() - known.keys():
                sys.stderr.write(f"left out of training: {reasons[row]}\n")
            pass_over(self.source, domain, reasons)
            kept = np.array(sorted(error.images), dtype=np.intp)
            if not len(kept):
                return torch.empty(0, 1, 1, 1), kept
            images = stack([error.images[i] for i in kept.tolist()], where)
        check_images(images, where)
        return images, kept

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
