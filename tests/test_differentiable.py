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


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_normalisation_has_the_second_derivative_that_it_should(dim: int | None) -> None:
    """Its kernel's own is not even symmetric."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2).double(), dim=dim)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    with twice_differentiable():
        found = layer.weight
    torch.testing.assert_close(found, layer.weight)

    def written(g: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        others = [0, 1] if dim is None else [1 - dim]
        return g * v / v.square().sum(others, keepdim=dim is not None).sqrt()

    along = torch.linspace(1, 2, 6, dtype=torch.float64).view(2, 3)
    hessians = []
    for value in (found, written(g, v)):
        first = torch.autograd.grad((value.sin() * along).sum(), (g, v), create_graph=True)
        rows = [torch.autograd.grad(x, (g, v), retain_graph=True) for one in first for x in one.flatten()]
        hessians.append(torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]))
    torch.testing.assert_close(*hessians)
    torch.testing.assert_close(hessians[0], hessians[0].T)
