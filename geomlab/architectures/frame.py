"""How an image of any size becomes a square one, as the network's authors had it."""

from dataclasses import dataclass

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")  # as Pillow names them
MODES = ("shortest", "squash")


@dataclass(frozen=True)
class Frame:
    """An image is resized, then its centre is cut out.

    Attributes:
        size: side of what is cut out, in pixels.
        resize: side to which it is resized first; `size` cuts off no more than makes it a square.
        interpolation: one of `INTERPOLATIONS`, with antialiasing.
        mode: `shortest`, the shorter side becomes `resize`, or `squash`, both do.
    """

    size: int
    resize: int
    interpolation: str = "bicubic"
    mode: str = "shortest"

    def resized(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Sides after resizing; halves are rounded as torchvision's Resize does."""
        if self.mode == "squash":
            return self.resize, self.resize
        width, height = sides
        shorter = min(sides)
        return self.resize * width // shorter, self.resize * height // shorter


Size = Frame | int | None
"""A frame; a side in pixels, for one of that size whose defaults hold; or None for images as they are."""


def resizing(size: int, resize: int, interpolation: str, mode: str) -> tuple[int | None, str, str]:
    """Those three fields of `Preprocessing` as a library says them.

    Args:
        size: of what is cut out.
        resize: side before it is; None in the result where it is the same.
        interpolation: the library's word; one that varies it in training is bicubic here, CLIP's.
        mode: the library's word; one that would pad is `shortest` here, which cuts instead.
    """
    return (
        None if resize == size else resize,
        interpolation if interpolation in INTERPOLATIONS else "bicubic",
        mode if mode in MODES else "shortest",
    )


def frame_of(size: Frame | int) -> Frame:
    """The frame that a size stands for."""
    return size if isinstance(size, Frame) else Frame(size, size)
