from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab.differentiable import twice_differentiable

CASES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": (F.conv1d, (3, 2, 7), (4, 2, 3), {"stride": 2, "padding": 1}),
    "2d": (F.conv2d, (3, 2, 6, 5), (4, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
    "what the stride leaves over": (F.conv2d, (2, 2, 6, 6), (2, 2, 3, 3), {"stride": 2}),
    "depthwise": (F.conv2d, (2, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    "groups": (F.conv2d, (2, 4, 4, 4), (6, 2, 3, 3), {"groups": 2}),
    "patches": (F.conv2d, (2, 3, 8, 8), (5, 3, 4, 4), {"stride": 4}),
    "3d": (F.conv3d, (2, 2, 4, 3, 4), (3, 2, 2, 2, 3), {"padding": 1}),
}


def random(*shape: int, seed: int) -> Tensor:
    found = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return found.requires_grad_()


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives_are_the_native_ones(name: str, bias: bool, last: bool) -> None:
    function, shape, kernel, settings = CASES[name]
    x, w = random(*shape, seed=0), random(*kernel, seed=1)
    if last:
        x = x.detach().movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    given = (x, w, random(kernel[0], seed=2)) if bias else (x, w)

    def derivatives() -> list[Tensor]:
        out = function(*given, **settings)
        along = random(*out.shape, seed=3)
        first = torch.autograd.grad(out, given, along, create_graph=True)
        vectors = [random(*g.shape, seed=4 + i) for i, g in enumerate(first)]
        second = torch.autograd.grad(first, (along, x, w), vectors, create_graph=True)
        vectors = [random(*g.shape, seed=8 + i) for i, g in enumerate(second)]
        return [out, *first, *second, *torch.autograd.grad(second, (along, x, w), vectors)]

    native = derivatives()
    with twice_differentiable():
        found = derivatives()
    assert "_Convolution" in str(found[0].grad_fn if not bias else found[0].grad_fn.next_functions[0][0])
    for ours, theirs in zip(found, native, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_detached_derivatives_depend_on_their_cotangents_alone() -> None:
    x, w, along = random(2, 2, 4, 4, seed=0), random(3, 2, 3, 3, seed=1), random(2, 3, 2, 2, seed=2)
    vectors = [random(*x.shape, seed=3), random(*w.shape, seed=4)]
    with twice_differentiable(detached=True):
        out = F.conv2d(x, w)
    first = torch.autograd.grad(out, (x, w), along, create_graph=True)
    of_along, of_x, of_w = torch.autograd.grad(first, (along, x, w), vectors, allow_unused=True)
    assert of_x is None
    assert of_w is None
    torch.testing.assert_close(of_along, F.conv2d(vectors[0], w) + F.conv2d(x, vectors[1]))


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((2, 5, 5), {}), ((1, 2, 5, 5), {"padding": "same"}), ((1, 2, 5, 5), {"padding": "valid"})],
)
def test_what_is_not_plain_is_left_to_the_native_one(
    shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    x, w = random(*shape, seed=0), random(3, 2, 3, 3, seed=1)
    with twice_differentiable():
        found = F.conv2d(x, w, **settings)
    assert "_Convolution" not in str(found.grad_fn)
    torch.testing.assert_close(found, F.conv2d(x, w, **settings))


def test_under_autocast_as_well() -> None:
    x, w = random(1, 2, 5, 5, seed=0).float(), random(3, 2, 3, 3, seed=1).float()
    with twice_differentiable(), torch.autocast("cpu", torch.bfloat16):
        assert F.conv2d(x, w).dtype == torch.bfloat16


def test_numbers_of_other_kinds_as_settings() -> None:
    x, w = random(1, 2, 5, 5, seed=0), random(3, 2, 3, 3, seed=1)
    with twice_differentiable():
        for two in (np.int64(2), torch.tensor(2), [2], torch.Size([2, 2])):
            torch.testing.assert_close(F.conv2d(x, w, stride=two), F.conv2d(x, w, stride=2))


def test_complex_numbers_and_what_does_not_fit_are_the_native_one_s() -> None:
    x, w = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3)
    with twice_differentiable():
        assert F.conv2d(x.cdouble(), w.cdouble()).dtype == torch.complex128
        with pytest.raises(RuntimeError):
            F.conv2d(x, w, torch.ones(1))
        with pytest.raises(RuntimeError):
            F.conv2d(x, w, torch.ones(3).double())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, in its forward mode
@pytest.mark.parametrize("of_weight", [False, True])
def test_forward_mode(of_weight: bool) -> None:
    x, w = random(2, 2, 5, 5, seed=0), random(3, 2, 3, 3, seed=1)
    given, other = (w, x) if of_weight else (x, w)
    along = random(*given.shape, seed=2)

    def output(one: Tensor) -> Tensor:
        return F.conv2d(*((other, one) if of_weight else (one, other))).square()

    native = torch.func.jvp(output, (given,), (along,))
    jacobian = torch.func.jacfwd(output)(given)
    with twice_differentiable():
        found, mapped = torch.func.jvp(output, (given,), (along,)), torch.func.jacfwd(output)(given)
    torch.testing.assert_close(found, native)
    torch.testing.assert_close(mapped, jacobian)


def test_a_network_may_map_over_weights() -> None:
    """As an ensemble does."""
    x, w = random(2, 2, 5, 5, seed=0), random(4, 3, 2, 3, 3, seed=1)
    each = torch.stack([F.conv2d(x, one) for one in w])
    with twice_differentiable():
        found = torch.func.vmap(F.conv2d, in_dims=(None, 0))(x, w)
    torch.testing.assert_close(found, each)
    (ours,), (theirs,) = (torch.autograd.grad(out.square().sum(), w) for out in (found, each))
    torch.testing.assert_close(ours, theirs)


def test_modules_call_it() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    x = random(1, 2, 5, 5, seed=0)
    with twice_differentiable():
        found = layer(x)
    torch.testing.assert_close(found, layer(x))
