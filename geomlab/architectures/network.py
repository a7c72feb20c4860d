"""What a built network is, and what a zero-shot head is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from geomlab.clip import TextTower  # which imports open_clip


@dataclass(frozen=True)
class Preprocessing:
    """What stands between images in [0, 1] and a network.

    Attributes:
        size: side of the square input in pixels, or None for any.
        mean: of each channel, subtracted.
        std: of each channel, divided by.
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, eq=False)
class Network:
    """A built classifier.

    Attributes:
        module: normalised images -> logits, its weights loaded, in eval mode.
        preprocessing: applied before it.
        classes: names of the classes where they are known.
        zero_shot: what a zero-shot head was computed from, JSON-able; None where the head was read or there is none.
        text: the text side of a CLIP whose classes are known, or None.
    """

    module: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None
    zero_shot: Mapping[str, Any] | None = None
    text: "TextTower | None" = None


@dataclass(frozen=True)
class Labels:
    """What a zero-shot head is made of."""

    classes: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}.",)
