"""What a built network is, and what a zero-shot head is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from geomlab.architectures.frame import Frame, Size

if TYPE_CHECKING:
    from geomlab.clip import TextTower  # which imports open_clip


@dataclass(frozen=True)
class Preprocessing:
    """What stands between images in [0, 1] and a network.

    Attributes:
        size: side of the square input in pixels, or None for any.
        mean: of each channel, subtracted.
        std: of each channel, divided by.
        resize: side to which images of other sizes are resized before `size` is cut out; None for `size` itself.
        interpolation: of that, as Pillow names it.
        mode: `shortest`, the shorter side becomes `resize`, or `squash`, both do.
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: int | None = None
    interpolation: str = "bicubic"
    mode: str = "shortest"

    @property
    def frame(self) -> Size:
        """How images of other sizes are brought to `size`; None where any will do."""
        if self.size is None:
            return None
        return Frame(self.size, self.resize or self.size, self.interpolation, self.mode)

    def described(self) -> dict[str, Any]:
        """As a checkpoint records it and a digest counts it: how to resize only where that is not as CLIP does."""
        plain, own = asdict(Preprocessing()), asdict(self)
        return {
            name: value
            for name, value in own.items()
            if name in ("size", "mean", "std") or value != plain[name]
        }


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
