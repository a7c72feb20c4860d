import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.rng import generator
from grace.gram import gram_volume


def features(seed: int, n: int = 4, dim: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    rng = generator(seed, "test")
    a, b, c = (F.normalize(torch.randn(n, dim, generator=rng, dtype=torch.float64), dim=1) for _ in range(3))
    return a, b, c


def test_it_is_the_naive_determinant() -> None:
    eps = 1e-3
    triple = features(0)
    for i, volume in enumerate(gram_volume(*triple, eps=eps).tolist()):
        g = [[float(a[i] @ b[i]) + (eps if a is b else 0) for b in triple] for a in triple]
        det = (
            g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1])
            - g[0][1] * (g[1][0] * g[2][2] - g[1][2] * g[2][0])
            + g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0])
        )
        assert volume == pytest.approx(math.sqrt(det), rel=1e-10)


def test_it_is_the_volume_that_the_features_span() -> None:
    triple = features(1, n=3, dim=3)
    spanned = torch.linalg.det(torch.stack(triple, dim=1)).abs()
    torch.testing.assert_close(gram_volume(*triple, eps=1e-14), spanned, rtol=1e-6, atol=0)


def test_its_bounds() -> None:
    eps = 1e-4
    axes = torch.eye(3, dtype=torch.float64)
    largest = gram_volume(axes[:1], axes[1:2], axes[2:], eps=eps).item()
    assert largest == pytest.approx((1 + eps) ** 1.5, rel=1e-12)
    smallest = gram_volume(axes[:1], axes[:1], axes[:1], eps=eps).item()
    assert smallest == pytest.approx(math.sqrt((3 + eps) * eps * eps), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [1e-6, 1e-4])
@pytest.mark.parametrize("same", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)])
def test_gradients_are_finite_at_collinear_features(
    same: tuple[int, int, int], eps: float, dtype: torch.dtype
) -> None:
    distinct = features(2)
    triple = [distinct[i].to(dtype).clone().requires_grad_(True) for i in same]
    gram_volume(*triple, eps=eps).mean().backward()
    norms = []
    for feature in triple:
        assert feature.grad is not None
        assert torch.isfinite(feature.grad).all()
        norms.append(feature.grad.norm().item())
    assert max(norms) < 3 / math.sqrt(eps)


def test_all_three_features_get_the_gradient_of_finite_differences() -> None:
    triple = [feature.requires_grad_(True) for feature in features(3)]
    assert torch.autograd.gradcheck(lambda *x: gram_volume(*x, eps=1e-3), triple)
    gradients = torch.autograd.grad(gram_volume(*triple, eps=1e-3).sum(), triple)
    assert all(gradient.abs().max() > 0.01 for gradient in gradients)


def test_half_precision_features_are_computed_in_float64() -> None:
    """A volume of nearly equal features that bfloat16 or float32 arithmetic would lose."""
    a = F.normalize(torch.tensor([[1.0, 1e-2, 0.0]]), dim=1).bfloat16()
    b = F.normalize(torch.tensor([[1.0, 0.0, 1e-2]]), dim=1).bfloat16()
    c = F.normalize(torch.tensor([[1.0, 0.0, 0.0]]), dim=1).bfloat16()
    found = gram_volume(a, b, c, eps=1e-9)
    assert found.dtype == torch.float64
    exact = gram_volume(a.double(), b.double(), c.double(), eps=1e-9)
    assert found.item() == exact.item()
    assert 0.5e-4 < found.item() < 2e-4
