"""Realised inputs: fixed, re-iterable, identified by a digest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from geomlab import params
from geomlab.typing import Images, Labels, Logits


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
        warnings: what is to be known of how they were read.
        groups: the classes of the head that are told apart, alike ones together; None for all.
    """

    images: Images
    labels: Labels
    batch_size: int
    clean: Tensor
    clean_labels: Tensor
    paired: bool
    samples: str = ""
    warnings: tuple[str, ...] = ()
    groups: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Images, Labels]]:
        yield from zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over images, labels, and the classes they are told apart among where those are not all."""
        asked = {str(i): torch.tensor(group) for i, group in enumerate(self.groups or ())}
        return params.digest({"images": self.images, "labels": self.labels, **asked})

    def on_clean(self) -> "Batches":
        """The clean counterpart as batches of its own."""
        return replace(
            self,
            images=self.clean,
            labels=self.clean_labels,
            paired=True,
            samples="",
            warnings=(),
            groups=None,
        )

    def among(self, logits: Logits) -> Logits:
        """Logits with those classes at −∞ that these inputs are not asked about, and alike classes as their largest.

        So an image of a set of 200 of ImageNet's classes is told apart among those, as the sets' authors do
        (Hendrycks et al. 2021 for -A and -R; Barbu et al. 2019 for ObjectNet).

        Args:
            logits: (n, C) of the whole head.
        """
        if self.groups is None:
            return logits
        among = torch.full_like(logits, float("-inf"))
        first = torch.tensor([group[0] for group in self.groups], device=logits.device)
        largest = torch.stack([logits[:, list(group)].amax(1) for group in self.groups], 1)
        return among.index_copy(1, first, largest)

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
