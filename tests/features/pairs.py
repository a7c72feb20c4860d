"""Pairs of representations for the tests of similarity."""

import torch

from geomlab.rng import generator


def pair(n: int = 40, d: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and a nonlinear relative of them, away from the origin."""
    x = 5 + torch.randn(n, d, generator=generator(seed, "x"), dtype=torch.float64)
    mix = torch.randn(d, d + 3, generator=generator(seed, "mix"), dtype=torch.float64)
    return x, torch.tanh(x @ mix) + 0.3 * torch.randn(
        n, d + 3, generator=generator(seed, "y"), dtype=torch.float64
    )


def rotation(d: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=generator(seed, "q"), dtype=torch.float64)).Q


def independent(n: int, d: int, other: int = 0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians that have nothing to do with each other."""
    drawn = torch.randn(n, d + (other or d), generator=generator(seed, "independent"), dtype=torch.float64)
    return drawn[:, :d], drawn[:, d:]


def naive_hsic(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Song et al. 2012, eq. 4, on n×n kernel matrices with their diagonals removed."""
    n = len(k)
    k, m = k - k.diag().diag(), m - m.diag().diag()
    one = torch.ones(n, dtype=k.dtype)
    total = (k @ m).trace() + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))
