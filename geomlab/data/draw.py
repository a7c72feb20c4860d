"""A class-balanced choice of a source's images, around those that cannot be read."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomlab.architectures import Size
from geomlab.data.decode import stack
from geomlab.data.source import Source, Unreadable, balanced_subset
from geomlab.errors import UserError
from geomlab.typing import Images

_NAMED = 5  # in a warning


def rows_of(source: Source, domain: str, n: int, seed: int) -> NDArray[np.intp]:
    """Rows of a class-balanced subset, without those known to be unreadable.

    Args:
        source: of the images.
        domain: of the source.
        n: how many, at most those there are.
        seed: of the choice.

    Raises:
        UserError: if fewer than two are left.
    """
    without = source.skipped.get(domain, {})
    labels = source.index(domain).labels
    if len(labels) - len(without) < 2:
        found = f", {len(without)} of them unreadable: {next(iter(without.values()))}" if without else ""
        raise UserError(f"{source.spec}: {len(labels)} samples{found}; expected at least 2")
    return balanced_subset(labels, n, seed, without=without)


def draw(source: Source, domain: str, n: int, seed: int, size: Size) -> tuple[NDArray[np.intp], Images]:
    """The rows of a subset and their images; an unreadable one gives its place to the next of its class.

    Args:
        source: of the images; its `skipped` then names the unreadable ones.
        domain: of the source.
        n: how many, at most those there are.
        seed: of the choice.
        size: how large they become, or None.

    Raises:
        UserError: if more are unreadable than the source passes over, or fewer than two are left.
    """
    read: dict[int, Tensor] = {}
    while True:
        rows = rows_of(source, domain, n, seed)
        wanted = np.array([row for row in rows.tolist() if row not in read], dtype=np.intp)
        try:
            images = source.images(domain, wanted, size) if len(wanted) else torch.empty(0)
        except Unreadable as error:
            read |= {int(wanted[i]): image for i, image in error.images.items()}
            pass_over(source, domain, {int(wanted[i]): reason for i, reason in error.reasons.items()})
            continue
        if not read:
            return rows, images
        read |= dict(zip(wanted.tolist(), images, strict=True))
        return rows, stack([read[row] for row in rows.tolist()], f"{source.spec}, {domain}")


def said(source: Source, domain: str) -> tuple[str, ...]:
    """Sentences on the images that were passed over, and on classes that are not asked about."""
    found, groups = source.skipped.get(domain, {}), source.groups.get(domain)
    sentences = []
    if found:
        named = "; ".join(found[row] for row in sorted(found)[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        sentences.append(
            f"{len(found)} of the images of {domain} cannot be read and are left out, others of their classes taken "
            f"for them: {named}{more}"
        )
    if groups:
        sentences.append(
            f"{domain} has {len(groups)} of the classes, and its images are told apart among those"
        )
    return tuple(sentences)


def pass_over(source: Source, domain: str, reasons: dict[int, str]) -> None:
    """Note rows that cannot be read, and why.

    Raises:
        UserError: if there are more of them than the source passes over.
    """
    found = source.skipped.setdefault(domain, {})
    found |= reasons
    if len(found) > source.skip:
        raise UserError(
            f"{source.spec}: more than {source.skip} images of {domain} cannot be read, {next(iter(found.values()))}; "
            "mend them, or add skip=… to the SPEC to pass over more"
        )
