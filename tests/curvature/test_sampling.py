from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from geomlab.curvature.hessian import Hessian
from geomlab.curvature.sampling import jackknife, parts
from geomlab.data.batches import Batches
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense
from geomlab.rng import generator
from geomlab.stats import jackknife as whole_jackknife
from tests import models


def covariance(batches: Batches) -> Dense:
    """XXᵀ/n of flattened images: an operator of samples whose population is known."""
    x = batches.images.flatten(1)
    return Dense(x.T @ x / len(x))


def gaussian(n: int, seed: int, spread: torch.Tensor) -> Batches:
    x = torch.randn(n, len(spread), generator=generator(seed, "x"), dtype=torch.float64) * spread.sqrt()
    images = x.reshape(n, 1, 1, -1)
    return Batches(images, torch.zeros(n).long(), 64, images, torch.zeros(n).long(), True)


def top(matrix: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:k], vectors.flip(1)[:, :k]


def test_parts_are_disjoint_and_all_of_it() -> None:
    batches = models.batches(11, 4)
    some = parts(batches, 3, generator(0, "parts"))
    assert [len(one) for one in some] == [4, 4, 3]
    joined = torch.cat([one.images for one in some])
    assert sorted(joined.flatten(1)[:, 0].tolist()) == sorted(batches.images.flatten(1)[:, 0].tolist())
    for one in some:
        assert torch.equal(one.clean, one.images)


@pytest.mark.parametrize("seeds", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_the_interval_covers_the_population_s_eigenvalue(seeds: int) -> None:
    """Of a population with λ = 5, 2, 1, … and many samples, so that λmax has no bias to speak of."""
    spread = torch.cat([torch.tensor([5.0, 2.0]), torch.linspace(1, 0.1, 10)]).double()
    covered = []
    for seed in range(seeds):
        batches = gaussian(2000, seed, spread)
        _, vectors = top(covariance(batches).matrix, 3)
        found = jackknife(covariance, batches, vectors, generator(seed, "groups"))
        value = float(top(covariance(batches).matrix, 1)[0])
        covered.append(abs(value - 5) <= found.half_width[0])
    # Of 40 at 95 % all are covered in 13 % of cases and fewer than 34 in 1 %: only many seeds bound it from above.
    low, high = (0.90, 0.99) if seeds == 200 else (0.85, 1)
    assert low <= np.mean(covered) <= high


def test_it_is_the_jackknife_of_the_eigenvalues_themselves() -> None:
    """On the span of all eigenvectors nothing is left out: leaving groups out by hand gives the same."""
    spread = torch.linspace(3, 0.5, 6).double()
    batches = gaussian(100, 0, spread)
    _, vectors = top(covariance(batches).matrix, 6)
    found = jackknife(covariance, batches, vectors, generator(0, "groups"))
    groups = parts(batches, 20, generator(0, "groups"))
    left = []
    for out in range(20):
        x = torch.cat([one.images.flatten(1) for i, one in enumerate(groups) if i != out])
        left.append(torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0).numpy())
    spread_of = ((np.array(left) - np.mean(left, 0)) ** 2).sum(0)
    assert found.stderr == pytest.approx(np.sqrt(19 / 20 * spread_of))
    x = batches.images.flatten(1).numpy()
    by_stats = whole_jackknife(
        lambda rows: np.linalg.eigvalsh(x[rows].T @ x[rows] / len(rows))[::-1].tolist(), 100
    )
    assert found.stderr == pytest.approx(by_stats, rel=0.5)  # other groups
    assert found.products == 6


@pytest.mark.parametrize("build", [models.convolution, models.Attention])
def test_of_a_network(build: Callable[[], nn.Module]) -> None:
    subject, batches = models.subject(build()), models.batches(40, 16)
    names = list(subject.weights)
    vectors = eigenpairs(Hessian(subject, batches, names), 3, generator(0, "l"))[0].vectors
    found = jackknife(lambda some: Hessian(subject, some, names), batches, vectors, generator(0, "g"))
    # To first order the jackknife's error is that of v·H_b·v over groups b.
    groups = parts(batches, 20, generator(0, "g"))
    by_group = [models.second_derivative(subject, one, names, vectors[:, 0]) for one in groups]
    assert found.stderr[0] == pytest.approx(np.std(by_group, ddof=1) / 20**0.5, rel=0.2)


def test_too_few_samples_have_no_error() -> None:
    found = jackknife(covariance, gaussian(3, 0, torch.ones(4)), torch.eye(4).double(), generator(0, "g"))
    assert np.isnan([found.stderr, found.half_width]).all()
    assert found.products == 0
