"""Kernels that a second derivative can be taken of, and taken of fast."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from geomlab import convolution


@contextmanager
def twice_differentiable(*, detached: bool = False) -> Iterator[None]:
    """For forward passes that are differentiated twice: `plain_attention`, `convolution`, and batch norm as a line.

    Weight normalisation is written out: its kernel's second derivative is wrong (torch 2.14: not symmetric).

    In eval mode batch norm is x·s + t with two numbers a channel. Its kernel's second derivative, written for training
    mode, is most of a product of a network that has it after each convolution (benchmarks/curvature.py, ResNet-20).

    Args:
        detached: whether the first derivative is differentiated along its cotangents only, as for a Gauss-Newton
            product; of a convolution what the weights would need is then left out.
    """
    switch = convolution.Switch()
    with plain_attention(), _Plain(switch):
        yield
    switch.on = detached


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention by plain matrix products: the fused kernels have no second derivative."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


class _Plain(TorchFunctionMode):
    def __init__(self, detached: convolution.Switch) -> None:
        super().__init__()
        self._detached = detached

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        if func is torch._weight_norm:
            return _weight_norm(*args, **(kwargs or {}))
        if func in convolution.AXES:
            return convolution.convolve(func, self._detached, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm`, whose arguments' names these are."""
    if training or running_mean is None or running_var is None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    a_channel = (-1, *(1 for _ in input.shape[2:]))
    return (input * scale.view(a_channel) + shift.view(a_channel)).to(input.dtype)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """`torch._weight_norm`: g·v/‖v‖, the norm over all axes but one, or over all where that is −1."""
    others = [axis for axis in range(v.ndim) if axis != dim]
    length: Tensor = torch.linalg.vector_norm(v, dim=others, keepdim=dim != -1)
    return v * (g / length)
