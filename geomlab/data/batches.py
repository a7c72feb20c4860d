"""Realised inputs: fixed, re-iterable, identified by a digest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from geomlab import params
from geomlab.typing import Images, Labels


@dataclass(frozen=True, eq=False)
class Batches:
    """Labelled images of one condition, in fixed order.

    Attributes:
        images: (n, C, H, W) in [0, 1].
        labels: (n,) classes.
        batch_size: how many samples an iteration gives at a time.
        clean: the clean images (m, C, H, W) they are compared with, and their labels; the same samples in the same
            order where `paired`.
        clean_labels: (m,) classes of those.
        paired: whether `images[i]` and `clean[i]` show the same thing.
        samples: digest of which samples of which source these are, in order; "" where that is not known.
    """

    images: Images
    labels: Labels
    batch_size: int
    clean: Tensor
    clean_labels: Tensor
    paired: bool
    samples: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Images, Labels]]:
        yield from zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over images and labels."""
        return params.digest({"images": self.images, "labels": self.labels})

    def on_clean(self) -> "Batches":
        """The clean counterpart as batches of its own."""
        return replace(self, images=self.clean, labels=self.clean_labels, paired=True, samples="")

    def take(self, rows: Tensor) -> "Batches":
        """Some of the samples, in that order; of paired inputs the clean counterparts of the same.

        Args:
            rows: (m,) indices.
        """
        clean = rows if self.paired else slice(None)
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            clean=self.clean[clean],
            clean_labels=self.clean_labels[clean],
            samples="",
        )

    def share(self, rank: int, world: int) -> "Batches":
        """The samples of one of several processes: contiguous, the shares differ in size by at most one.

        Args:
            rank: of the process, 0 to world − 1.
            world: number of processes.

        Raises:
            ValueError: if there are fewer samples than processes.
        """
        if not 0 <= rank < world <= min(len(self.labels), len(self.clean_labels)):
            raise ValueError(
                f"expected 0 <= rank < world <= {len(self.labels)} samples, got {rank} of {world}"
            )

        def part(tensor: Tensor) -> Tensor:
            return tensor[rank * len(tensor) // world : (rank + 1) * len(tensor) // world]

        return replace(
            self,
            images=part(self.images),
            labels=part(self.labels),
            clean=part(self.clean),
            clean_labels=part(self.clean_labels),
            samples="",
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batches":
        """The same inputs on another device or in another precision."""
        return replace(
            self,
            images=self.images.to(device, dtype),
            labels=self.labels.to(device),
            clean=self.clean.to(device, dtype),
            clean_labels=self.clean_labels.to(device),
        )
