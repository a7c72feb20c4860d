import pytest
import torch

from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense
from geomlab.rng import generator


def matrix(spectrum: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """A dense symmetric matrix of that spectrum in a random basis."""
    n = len(spectrum)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator(seed, "basis"), dtype=torch.float64))
    a = q @ torch.diag(spectrum.double()) @ q.T
    return (a + a.T) / 2


SPECTRA = {
    "decaying": 2.0 ** -torch.arange(60.0),
    "indefinite": torch.linspace(-5, 5, 60),
    "rank-deficient": torch.cat([torch.tensor([3.0, 2.0, 1.0]), torch.zeros(57)]),
    "negative": -torch.arange(1.0, 61.0),
    "ill-conditioned": torch.logspace(0, -12, 60),
    "close": torch.cat([torch.tensor([1.0, 0.99975, 0.9995]), torch.linspace(0, 0.5, 57)]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_agrees_with_a_dense_solver_and_proves_it(name: str) -> None:
    a = matrix(SPECTRA[name])
    top, bottom = eigenpairs(Dense(a), 3, generator(0, "start"), tolerance=1e-9)
    truth = torch.linalg.eigvalsh(a).flip(0)
    assert top.status == "converged"
    torch.testing.assert_close(top.values, truth[:3], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(top.images, a @ top.vectors)
    true_residuals = (a @ top.vectors - top.vectors * top.values).norm(dim=0)
    torch.testing.assert_close(top.residuals, true_residuals)
    torch.testing.assert_close(top.vectors.T @ top.vectors, torch.eye(3, dtype=torch.float64))
    assert float(bottom.values[0] - truth[-1]) < float(bottom.residuals[0]) + 1e-9


def test_says_so_when_the_budget_ends_first() -> None:
    top, _ = eigenpairs(
        Dense(matrix(SPECTRA["indefinite"])), 5, generator(0, "start"), max_products=6, tolerance=1e-9
    )
    assert top.status.startswith("not converged")
    assert top.products == 6 + 5
    assert float(top.residuals.max()) > 1e-3


def test_k_beyond_the_dimension_gives_all_of_them() -> None:
    a = matrix(torch.tensor([4.0, 1.0, -2.0]))
    top, bottom = eigenpairs(Dense(a), 10, generator(0, "start"))
    torch.testing.assert_close(top.values, torch.tensor([4.0, 1.0, -2.0], dtype=torch.float64))
    assert bottom.values[0] == pytest.approx(-2.0)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_multiples_of_the_identity(scale: float) -> None:
    top, bottom = eigenpairs(Dense(scale * torch.eye(9, dtype=torch.float64)), 4, generator(0, "start"))
    torch.testing.assert_close(top.values, torch.full((4,), scale, dtype=torch.float64))
    assert bottom.values[0] == pytest.approx(scale)
    assert top.status == "converged"


def test_edge_of_the_semicircle() -> None:
    n = 600
    a = torch.randn(n, n, generator=generator(3, "wigner"), dtype=torch.float64)
    top, bottom = eigenpairs(Dense((a + a.T) / (2 * n) ** 0.5), 1, generator(0, "start"), tolerance=1e-4)
    assert top.values[0] == pytest.approx(2, abs=0.1)
    assert bottom.values[0] == pytest.approx(-2, abs=0.1)


def test_edges_of_marchenko_and_pastur() -> None:
    n, d = 4000, 400
    x = torch.randn(n, d, generator=generator(4, "wishart"), dtype=torch.float64)
    top, bottom = eigenpairs(Dense(x.T @ x / n), 1, generator(0, "start"), tolerance=1e-4)
    assert top.values[0] == pytest.approx((1 + (d / n) ** 0.5) ** 2, rel=0.03)
    assert bottom.values[0] == pytest.approx((1 - (d / n) ** 0.5) ** 2, rel=0.05)


def test_single_precision_reaches_its_tolerance() -> None:
    a = matrix(2.0 ** -torch.arange(50.0)).float()
    top, _ = eigenpairs(Dense(a), 4, generator(0, "start"))
    assert top.status == "converged"
    assert float(top.relative_residuals.max()) <= 2e-3
    assert top.values.dtype == torch.float64


def test_the_same_seed_gives_the_same_pairs_and_no_global_state_moves() -> None:
    state = torch.get_rng_state()
    pairs = [eigenpairs(Dense(matrix(SPECTRA["close"])), 2, generator(5, "start"))[0] for _ in range(2)]
    assert torch.equal(pairs[0].vectors, pairs[1].vectors)
    assert torch.equal(state, torch.get_rng_state())


def test_no_eigenpairs_are_not_to_be_had() -> None:
    with pytest.raises(ValueError, match="k >= 1"):
        eigenpairs(Dense(torch.eye(3)), 0, generator(0, "start"))


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        Dense(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
