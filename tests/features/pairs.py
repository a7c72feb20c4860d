"""Pairs of representations for the tests of similarity."""

import torch

from geomlab.rng import generator

SPREAD = torch.linspace(1, 2, 6, dtype=torch.float64)
MAP = torch.randn(6, 8, generator=generator(0, "map"), dtype=torch.float64)
NOISE = 3.0


def related(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians x, and y = x·MAP with noise."""
    g = generator(seed, "related")
    x = torch.randn(n, 6, generator=g, dtype=torch.float64) * SPREAD
    return x, x @ MAP + NOISE * torch.randn(n, 8, generator=g, dtype=torch.float64)


def true_cka() -> float:
    """‖Σ_xy‖²_F / (‖Σ_xx‖_F ‖Σ_yy‖_F), of infinitely many samples."""
    xx = (SPREAD**2).diag()
    yy = MAP.T @ xx @ MAP + NOISE**2 * torch.eye(8, dtype=torch.float64)
    return float((xx @ MAP).square().sum() / (xx.norm() * yy.norm()))


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
