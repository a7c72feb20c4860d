"""What a data source is: labelled images in [0, 1] in one or more domains."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geomlab.architectures import Labels, Size
from geomlab.data.places import SKIP
from geomlab.errors import UserError
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


class Unreadable(UserError):
    """Some of the images that were asked for cannot be read.

    Args:
        reasons: position among those asked for -> which file it is, and why.
        images: position -> image (C, H, W), of all others.
    """

    def __init__(self, reasons: Mapping[int, str], images: Mapping[int, Tensor]) -> None:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{next(iter(reasons.values()))}{more}")
        self.reasons = reasons
        self.images = images


class Source(ABC):
    """Labelled images in one or more domains; the first domain is in-distribution."""

    spec: str
    classes: tuple[str, ...] | None
    domains: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}.",)
    conditions: tuple[str, ...] = ("clean", "pgd", "corruption:gaussian_noise,severity=3")
    """Condition SPECs to use where the user gives none."""
    skip: int = SKIP
    """How many unreadable images of a domain are passed over."""
    groups: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType({})
    """Of a domain that lacks some of the classes: those it has, ones that it does not tell apart together.

    The label of such is then the first of them.
    """

    @cached_property
    def skipped(self) -> dict[str, dict[int, str]]:
        """Domain -> row -> which image could not be read, and why; filled as images are drawn."""
        return {}

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
    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """Images (len(rows), C, H, W) in [0, 1], float32.

        Args:
            domain: one of `domains`.
            rows: positions in `index(domain)`.
            size: how large the network wants them, or None to keep the images as they are.

        Raises:
            Unreadable: if some cannot be read.
        """


def balanced_subset(
    labels: NDArray[np.int64], n: int, seed: int, *, without: Collection[int] = ()
) -> NDArray[np.intp]:
    """Rows of a class-balanced random subset: classes in turn, each in random order; sorted.

    Args:
        labels: (N,) class numbers.
        n: how many rows; all where n >= N.
        seed: of the choice.
        without: rows that are passed over; each is replaced by the next of its class, and no other row changes for it.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[~np.isin(order, np.fromiter(without, dtype=np.intp))]
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    by_turn = order[np.argsort(turn[order], kind="stable")]
    return np.sort(by_turn[:n])
