"""What images and labels must be, for analysis and for training alike."""

import torch

from geomlab.errors import UserError
from geomlab.typing import Images, Labels


def check_images(images: Images, where: str) -> None:
    """Refuse images that are not finite or not in [0, 1].

    Args:
        images: (n, C, H, W), n >= 1.
        where: what they are, for the message.

    Raises:
        UserError: saying how many are not finite, or what they span.
    """
    low, high = (float(value) for value in torch.aminmax(images))  # NaN where any value is
    if low >= 0 and high <= 1:
        return
    bad = int((~torch.isfinite(images)).flatten(1).any(1).sum())
    if bad:
        raise UserError(f"{where}: {bad} of {len(images)} images hold NaN or infinite values; clean the data")
    raise UserError(
        f"{where}: images span [{low:.3g}, {high:.3g}], expected [0, 1]; "
        "scale them, and leave normalisation to the network"
    )


def check_labels(labels: Labels, classes: int, where: str) -> None:
    """Refuse labels outside a head.

    Args:
        labels: (n,) class numbers.
        classes: of the head.
        where: what they are, for the message.

    Raises:
        UserError: naming at most five that are outside.
    """
    outside = labels[(labels < 0) | (labels >= classes)].unique().tolist()
    if outside:
        raise UserError(
            f"{where}: labels {outside[:5]} are outside the head of {classes} classes; "
            "check --data, or use the right checkpoint"
        )
