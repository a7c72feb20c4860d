"""Convolutions whose second derivative is made of the kernels of the first.

torch takes the weight gradient in its second derivative by a convolution with an image for a kernel, of which it has no
fast one, and computes all of it whatever is asked for (benchmarks/curvature.py: what that costs of ResNet-20). But a
convolution of x and w, its gradient with respect to x, and that with respect to w are three bilinear maps whose
derivatives are each other. They are written here as such.
"""

from dataclasses import dataclass
from operator import index
from typing import Any

import torch
from torch import Tensor

AXES = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}  # that are convolved over
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
Gradients = tuple[Tensor | None, ...]


@dataclass(eq=False)
class Switch:
    """Whether derivatives of convolutions are differentiated along cotangents only, not along x and w.

    It is off while a network runs, which may take derivatives of its own, and set when what is done with the result is
    known.
    """

    on: bool = False


def convolve(
    native: Any,
    detached: Switch,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.conv1d`, `conv2d` or `conv3d`, whose arguments' names these are.

    A call with padding by name, without a batch axis, of complex numbers, or under autocast is left to the native one,
    and one that it would refuse.

    Args:
        native: which one.
        detached: asked whenever it is differentiated.
        input: x (N, C, …).
        weight: w (out, C / groups, …).
        bias: (out,).
        stride: of each axis, or of all; whole numbers of any kind.
        padding: likewise, or a name.
        dilation: likewise.
        groups: of the channels.
    """
    unusual = input.ndim != weight.ndim or isinstance(padding, str) or not input.is_floating_point()
    mixed = any(other.dtype != input.dtype for other in (weight, bias) if other is not None)
    misshapen = bias is not None and bias.shape != weight.shape[:1]
    if unusual or mixed or misshapen or torch.is_autocast_enabled(input.device.type):
        return native(input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]
    axes = AXES[native]
    each = [_each(value, axes) for value in (stride, padding, dilation)]
    how = _How(each[0], each[1], each[2], groups, input.shape, weight.shape, detached)
    out: Tensor = _Convolution.apply(input, weight, how)
    return out if bias is None else out + bias.view(-1, *(1,) * axes)


def _each(value: Any, axes: int) -> list[int]:
    try:
        return [index(value)] * axes
    except TypeError:
        values = [index(one) for one in value]
    return values * axes if len(values) == 1 else values


@dataclass(frozen=True, eq=False)
class _How:
    """The settings of a convolution, and the shapes of what is convolved.

    Attributes:
        stride, padding, dilation, groups: as of `convolve`, a number an axis.
        input: shape of x.
        weight: shape of w.
        detached: as of `convolve`.
    """

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    input: torch.Size
    weight: torch.Size
    detached: Switch

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x ∗ w."""
        return torch.ops.aten.convolution(x, w, None, *self._settings)  # type: ignore[no-any-return]

    def of_input(self, g: Tensor, w: Tensor) -> Tensor:
        """The gradient of ⟨g, x ∗ w⟩ with respect to x."""
        found: Tensor = self._backward(g, _unread(self.input, g), w, (True, False, False))[0]
        return found

    def of_weight(self, g: Tensor, x: Tensor) -> Tensor:
        """The gradient of ⟨g, x ∗ w⟩ with respect to w."""
        found: Tensor = self._backward(g, x, g.new_empty(self.weight), (False, True, False))[1]
        return found

    def _backward(self, g: Tensor, x: Tensor, w: Tensor, wanted: tuple[bool, ...]) -> Any:
        return torch.ops.aten.convolution_backward(g, x, w, None, *self._settings, wanted)

    @property
    def _settings(self) -> tuple[Any, ...]:
        not_transposed = (False, [0] * len(self.stride))
        return (self.stride, self.padding, self.dilation, *not_transposed, self.groups)


def _unread(shape: torch.Size, like: Tensor) -> Tensor:
    """For a kernel that wants a shape and no numbers: in the memory order of another, else it copies."""
    if len(shape) in _LAST and like.stride(1) == 1:
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_LAST[len(shape)])
    return like.new_empty(shape)


class _Bilinear(torch.autograd.Function):
    """A map of two tensors; it saves both."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, _How], output: Tensor) -> None:
        first, second, ctx.how = inputs
        ctx.save_for_backward(first, second)
        ctx.save_for_forward(first, second)


def _tangent(map: type[_Bilinear], ctx: Any, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The forward-mode derivative of a bilinear map: the product rule."""
    a, b = ctx.saved_tensors
    parts = [map.apply(first, b, ctx.how)] if first is not None else []
    parts += [map.apply(a, second, ctx.how)] if second is not None else []
    return sum(parts[1:], parts[0]) if parts else None


class _Convolution(_Bilinear):
    """x ∗ w."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, how: _How) -> Tensor:
        return how.forward(x, w)

    @staticmethod
    def jvp(ctx: Any, first: Tensor | None, second: Tensor | None, _: None) -> Tensor | None:
        return _tangent(_Convolution, ctx, first, second)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Gradients:
        x, w = ctx.saved_tensors
        if ctx.how.detached.on:
            x, w = x.detach(), w.detach()
        of_x, of_w, _ = ctx.needs_input_grad
        return (
            _OfInput.apply(g, w, ctx.how) if of_x else None,
            _OfWeight.apply(g, x, ctx.how) if of_w else None,
            None,
        )


class _OfInput(_Bilinear):
    """The gradient of ⟨g, x ∗ w⟩ with respect to x, of g and w."""

    @staticmethod
    def forward(g: Tensor, w: Tensor, how: _How) -> Tensor:
        return how.of_input(g, w)

    @staticmethod
    def jvp(ctx: Any, first: Tensor | None, second: Tensor | None, _: None) -> Tensor | None:
        return _tangent(_OfInput, ctx, first, second)

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> Gradients:
        g, w = ctx.saved_tensors
        of_g, of_w, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(along, w, ctx.how) if of_g else None,
            _OfWeight.apply(g, along, ctx.how) if of_w else None,
            None,
        )


class _OfWeight(_Bilinear):
    """The gradient of ⟨g, x ∗ w⟩ with respect to w, of g and x."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, how: _How) -> Tensor:
        return how.of_weight(g, x)

    @staticmethod
    def jvp(ctx: Any, first: Tensor | None, second: Tensor | None, _: None) -> Tensor | None:
        return _tangent(_OfWeight, ctx, first, second)

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> Gradients:
        g, x = ctx.saved_tensors
        of_g, of_x, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, along, ctx.how) if of_g else None,
            _OfInput.apply(g, along, ctx.how) if of_x else None,
            None,
        )
