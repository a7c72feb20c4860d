from collections.abc import Callable

import pytest
import torch
from torch import nn

from geomlab.differentiable import twice_differentiable


def normalisation(build: Callable[..., nn.Module], **options: bool) -> nn.Module:
    """Of three channels, with statistics and weights that are not trivial."""
    norm = build(3, **options).double()
    for number, tensor in enumerate([*norm.parameters(), *norm.buffers()]):
        if tensor.is_floating_point():
            tensor.detach().copy_(torch.linspace(0.5, 2.0 + number, 3))
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("build", "shape"), [(nn.BatchNorm1d, ()), (nn.BatchNorm2d, (4, 5)), (nn.BatchNorm3d, (2, 3, 2))]
)
def test_batch_norm_is_a_line_in_eval_mode(
    build: Callable[..., nn.Module], shape: tuple[int, ...], affine: bool
) -> None:
    norm = normalisation(build, affine=affine)
    images = torch.randn(7, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with twice_differentiable():
        found = norm(images.requires_grad_())
    native = norm(images)
    torch.testing.assert_close(found, native)
    assert "BatchNorm" in str(native.grad_fn)
    assert "Add" in str(found.grad_fn)


@pytest.mark.parametrize("options", [{}, {"track_running_stats": False}])
def test_statistics_of_the_batch_stay_the_kernel_s(options: dict[str, bool]) -> None:
    norm = normalisation(nn.BatchNorm2d, **options).train(not options)
    images = torch.randn(7, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with twice_differentiable():
        found = norm(images)
    torch.testing.assert_close(found, norm(images))
    torch.testing.assert_close(found.detach().mean((0, 2, 3)), norm.bias.detach(), atol=1e-4, rtol=0)
