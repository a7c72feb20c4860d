"""Which axis of an activation holds the channels: most networks compute N,C,H,W, Swin and its kin N,H,W,C."""

from collections.abc import Mapping

from torch import Tensor, nn

from geomlab.errors import UserError

_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d)
_LAST = (nn.Linear, nn.LayerNorm)


def channels(
    activations: Mapping[str, Tensor], modules: Mapping[str, nn.Module], image: tuple[int, int]
) -> dict[str, int]:
    """The axis of the channels, 1 or 3, of each 4-D activation.

    A map has the proportions of the image. Of a square image: N,H,W,C if the first two sizes alone are equal, N,C,H,W
    if the last two alone are. Where that is not so (three equal sizes, none), the layer's own modules tell: 1 if they
    work on the first axis only (convolution, batch norm, pooling), 3 if on the last only (linear, layer norm), and
    torchvision's `Permute` says it itself. Of an image that is not square its proportions are blurred by rounding, and
    modules are asked first. Where neither tells, it is as in all other layers given.

    Args:
        activations: layer -> its output; those that are not 4-D are left out.
        modules: layer -> the module whose output that is, where there is one.
        image: height and width of the inputs.

    Raises:
        UserError: if an axis is not clear.
    """
    maps = {name: value for name, value in activations.items() if value.ndim == 4}
    found = {name: _axis(value, modules.get(name), image) for name, value in maps.items()}
    others = {axis for axis in found.values() if axis}
    for name in [name for name, axis in found.items() if not axis]:
        if len(others) != 1:
            raise UserError(
                f"layer {name} gives {tuple(maps[name].shape)}, and which axis holds the channels is not clear; choose "
                "layers with --layers that leave it out, or one more whose height and width differ from its channels"
            )
        (found[name],) = others
    return {name: axis for name, axis in found.items() if axis}


def _axis(value: Tensor, module: nn.Module | None, image: tuple[int, int]) -> int | None:
    clues = [_by_shape(value, image), _by_modules(module)]
    if image[0] != image[1]:
        clues.reverse()
    return clues[0] or clues[1]


def _by_shape(value: Tensor, image: tuple[int, int]) -> int | None:
    _, a, b, c = value.shape
    return _only(first=_alike((b, c), image), last=_alike((a, b), image))


def _alike(side: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a map of that height and width may be the image divided by one stride, give or take rounding."""
    (h, w), (height, width) = side, image
    if height == width:
        return h == w
    # height / s is within 1 of h for strides s from height / (h + 1) to height / (h − 1), width alike: do they meet?
    return height * (w - 1) < width * (h + 1) and width * (h - 1) < height * (w + 1)


def _by_modules(module: nn.Module | None) -> int | None:
    from torchvision.ops import Permute  # slow to import, and most networks have no maps of unclear axes

    if isinstance(module, Permute):
        return {(0, 3, 1, 2): 1, (0, 2, 3, 1): 3}.get(tuple(module.dims))
    # By exact type: the LayerNorm2d of torchvision and timm are an nn.LayerNorm, and work on the first axis.
    kinds = {type(child) for child in module.modules()} if module else set()
    return _only(first=bool(kinds & {*_FIRST}), last=bool(kinds & {*_LAST}))


def _only(*, first: bool, last: bool) -> int | None:
    return (1 if first else 3) if first != last else None
