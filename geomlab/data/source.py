"""What a data source is: labelled images in [0, 1] in one or more domains."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Labels
from geomlab.typing import Images, Texts


@dataclass(frozen=True)
class Index:
    """The samples of one domain.

    Attributes:
        ids: (n,) identity of each sample. The same id in two domains is the same thing seen twice.
        labels: (n,) class numbers.
    """

    ids: Texts
    labels: NDArray[np.int64]


class Source(ABC):
    """Labelled images in one or more domains; the first domain is in-distribution."""

    spec: str
    classes: tuple[str, ...] | None
    domains: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}.",)
    conditions: tuple[str, ...] = ("clean", "pgd", "corruption:gaussian_noise,severity=3")
    """Condition SPECs to use where the user gives none."""

    @property
    def labels(self) -> Labels | None:
        """Class names and templates as a zero-shot head takes them; None where the classes have no names."""
        return Labels(self.classes, self.templates) if self.classes else None

    def index(self, domain: str) -> Index:
        """All samples of a domain, listed once: of many files that takes long."""
        if domain not in self._listed:
            self._listed[domain] = self.list_samples(domain)
        return self._listed[domain]

    @cached_property
    def _listed(self) -> dict[str, Index]:
        return {}

    @abstractmethod
    def list_samples(self, domain: str) -> Index:
        """List all samples of a domain, without reading images."""

    @abstractmethod
    def images(self, domain: str, rows: NDArray[np.intp], size: int | None) -> Images:
        """Images (len(rows), C, H, W) in [0, 1], float32.

        Args:
            domain: one of `domains`.
            rows: positions in `index(domain)`.
            size: side in pixels the network wants, or None to keep the images as they are.
        """


def balanced_subset(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.intp]:
    """Rows of a class-balanced random subset: classes in turn, each in random order; sorted.

    Args:
        labels: (N,) class numbers.
        n: how many rows; all where n >= N.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    by_turn = order[np.argsort(turn[order], kind="stable")]
    return np.sort(by_turn[:n])
