import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from geomlab.linalg import basis, lanczos, rows
from geomlab.linalg.basis import BLOCK, Basis
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.lanczos import _Space, eigenpairs
from geomlab.linalg.operator import Dense, Operator
from geomlab.linalg.trace import traces
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
    assert top.products == 6 + 1
    assert float(top.residuals.max()) > 1e-3


class Doubles(TorchDispatchMode):
    """Watches how large the tensors in double precision become."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                self.largest = max(self.largest, tensor.numel())
        return out


def cut_short(tolerance: float, dtype: torch.dtype = torch.float64) -> Eigenpairs:
    """One eigenpair of what six products tell of a matrix, none of whose residuals before that is as small."""
    a = matrix(SPECTRA["indefinite"]).to(dtype)
    return eigenpairs(Dense(a), 1, generator(0, "start"), tolerance=tolerance, max_products=6, search=0)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_has_converged_at_the_tolerance_and_no_further(dtype: torch.dtype) -> None:
    reached = float(cut_short(1e-12, dtype).relative_residuals)
    assert cut_short(1.001 * reached, dtype).status == "converged"
    assert cut_short(0.999 * reached, dtype).status == "not converged: 1 of 1"
    assert cut_short(1.001 * reached, dtype).converged.tolist() == [True]
    assert cut_short(0.999 * reached, dtype).converged.tolist() == [False]


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_the_recurrence_lets_pass_is_within_the_tolerance(
    name: str, tolerance: float, dtype: torch.dtype
) -> None:
    a = matrix(SPECTRA[name]).to(dtype)
    floor = {torch.float32: 1e-6, torch.float64: 1e-13}[dtype] * float(torch.linalg.matrix_norm(a, 2))
    top, _ = eigenpairs(Dense(a), 3, generator(0, "start"), tolerance=tolerance)
    assert top.status == "converged"
    assert bool((top.residuals <= (tolerance * top.values.abs()).clamp(min=floor)).all())


class Counted(Dense):
    """A matrix that counts its products."""

    products = 0

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        self.products += 1
        return super().matvec(vector)


MULTIPLE = {
    "twice the largest": torch.cat([torch.tensor([5.0, 5.0, 3.0, 2.0]), torch.linspace(-1, 1, 96)]),
    "four times the third": torch.cat([torch.tensor([5.0, 4.0, *[3.0] * 4]), torch.linspace(-1, 1, 94)]),
    "two clusters": torch.cat([torch.tensor([5.0, 4.9999, 4.9998, 2.0, 1.9999]), torch.linspace(-1, 1, 95)]),
    "all alike but one": torch.cat([torch.tensor([2.0]), torch.ones(99)]),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MULTIPLE)
def test_every_copy_of_a_multiple_eigenvalue_is_found(name: str, seed: int) -> None:
    operator = Counted(matrix(MULTIPLE[name]))
    top, bottom = eigenpairs(operator, 5, generator(seed, "start"), tolerance=1e-6)
    assert top.status == "converged"
    torch.testing.assert_close(
        top.values, MULTIPLE[name].sort(descending=True).values[:5].double(), rtol=1e-6, atol=0
    )
    assert operator.products == top.products + bottom.products <= 100


def test_without_a_search_a_copy_is_missed() -> None:
    a = matrix(MULTIPLE["twice the largest"])
    top, _ = eigenpairs(Dense(a), 2, generator(0, "start"), search=0)
    assert top.values.tolist() == pytest.approx([5, 3], abs=1e-4)


def test_a_start_orthogonal_to_the_top_eigenvector_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = torch.cat([torch.tensor([5.0, 4.0, 3.0]), torch.linspace(-1, 1, 97)]).double()
    fresh = _Space._fresh
    starts: list[torch.Tensor] = []

    def unlucky(space: _Space) -> torch.Tensor:
        vector = fresh(space)
        if not starts:
            vector[0] = 0
            vector /= vector.norm()
        starts.append(vector)
        return vector

    monkeypatch.setattr(_Space, "_fresh", unlucky)
    top, _ = eigenpairs(Dense(torch.diag(spectrum)), 3, generator(0, "start"), tolerance=1e-6)
    torch.testing.assert_close(top.values, spectrum[:3])
    assert len(starts) == 3  # the first, the search that found it, and the one that found nothing


@pytest.mark.parametrize("name", [*SPECTRA, *MULTIPLE])
def test_a_restarted_space_is_small_and_finds_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a = matrix({**SPECTRA, **MULTIPLE}[name])
    largest = 0
    grow = _Space.grow

    def watched(space: _Space, end: int | None) -> bool:
        nonlocal largest
        alive = grow(space, end)
        largest = max(largest, len(space))
        return alive

    monkeypatch.setattr(_Space, "grow", watched)
    hard = name in {"decaying", "ill-conditioned"}  # the smallest ones are rounding beside the largest
    found, low = eigenpairs(
        Dense(a), 3, generator(0, "start"), tolerance=1e-6, max_basis=12, max_products=500, both=not hard
    )
    truth = torch.linalg.eigvalsh(a).flip(0)
    assert found.status == "converged"
    torch.testing.assert_close(found.values, truth[:3], rtol=1e-6, atol=1e-12)
    if not hard:
        assert low.status == "converged"
        torch.testing.assert_close(low.values, truth[-1:], rtol=1e-6, atol=1e-12)
    assert largest <= 12
    assert found.products > 12 or name in {"rank-deficient", "all alike but one"}


def test_both_ends_are_waited_for_where_asked() -> None:
    a = matrix(torch.cat([2.0 ** -torch.arange(20.0), -torch.linspace(0.99, 1, 40)]))
    for both in (False, True):
        _, bottom = eigenpairs(Dense(a), 2, generator(0, "start"), bottom=3, both=both, tolerance=1e-5)
        assert bool(bottom.converged.all()) is both
    torch.testing.assert_close(bottom.values, torch.linalg.eigvalsh(a)[:3].flip(0), rtol=1e-5, atol=0)


class Noisy(Dense):
    """A matrix whose products do not repeat."""

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        return super().matvec(vector) + 0.01 * torch.randn(self.dim, generator=noise, dtype=self.dtype)


noise = generator(0, "noise")


def test_products_that_do_not_repeat_are_found_out() -> None:
    top, _ = eigenpairs(Noisy(matrix(SPECTRA["decaying"])), 3, generator(0, "start"), tolerance=1e-3)
    assert top.status == "not converged: 3 of 3"
    assert float(top.residuals.min()) > 0.01 * 60**0.5  # at least the noise of one product


class Rounded(Counted):
    """A matrix whose products are rounded as a deep network's are in single precision: to 1e-6 of the largest."""

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        product = super().matvec(vector)
        step = 4e-6 * float(self.matrix.diagonal().abs().max()) / self.dim**0.5
        return (product / step).round() * step


HUNDREDFOLD = torch.cat(
    [torch.tensor([19.0, 0.63, 0.4, 0.31, 0.19]), torch.linspace(-0.1, 0.1, 295)]
).double()


@pytest.mark.parametrize("seed", range(5))
def test_rounding_of_a_large_eigenvalue_keeps_no_small_one_from_converging(seed: int) -> None:
    operator = Rounded(torch.diag(HUNDREDFOLD))
    top, bottom = eigenpairs(operator, 5, generator(seed, "start"))
    assert top.status == "converged"
    assert operator.products == top.products + bottom.products
    exact = (operator.matmat(top.vectors) - top.vectors * top.values).norm(dim=0)
    assert bool((exact <= 1e-3 * top.values).all())
    assert bool(((top.values - HUNDREDFOLD[:5]).abs() <= top.residuals).all())


def test_a_pair_in_doubt_is_settled_by_a_product_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sure, _ = eigenpairs(Dense(torch.diag(HUNDREDFOLD)), 5, generator(0, "start"))
    monkeypatch.setattr(lanczos, "_check", lambda *_: 0.01)  # more than the bound of all but the first
    operator = Counted(torch.diag(HUNDREDFOLD))
    top, bottom = eigenpairs(operator, 5, generator(0, "start"))
    assert top.status == "converged"
    assert top.products == sure.products + 4
    assert operator.products == top.products + bottom.products - 1  # the one of the check
    torch.testing.assert_close(top.values, sure.values)
    torch.testing.assert_close(top.residuals[1:], sure.residuals[1:], rtol=1e-3, atol=1e-12)
    assert float(top.residuals[0]) == pytest.approx(0.01, rel=1e-2)


def test_what_was_not_looked_for_is_said() -> None:
    a = Dense(matrix(SPECTRA["decaying"]))
    needed = eigenpairs(a, 3, generator(0, "start"), search=0)[0].products - 1
    top, _ = eigenpairs(a, 3, generator(0, "start"), max_products=needed + 2)
    assert top.status == "converged; hidden eigenvalues not looked for"
    assert bool(top.converged.all())


@given(
    spectrum=st.lists(st.integers(-20, 20), min_size=2, max_size=40),
    k=st.integers(1, 6),
    seed=st.integers(0, 10),
)
def test_any_spectrum(spectrum: list[int], k: int, seed: int) -> None:
    """Small integers: nearly all spectra have copies."""
    a = matrix(torch.tensor(spectrum, dtype=torch.float64), seed)
    top, bottom = eigenpairs(Dense(a), k, generator(seed, "start"), tolerance=1e-8)
    truth = torch.linalg.eigvalsh(a).flip(0)
    torch.testing.assert_close(top.values, truth[:k], rtol=0, atol=1e-6)
    nearest = (truth[:, None] - top.values).abs().amin(0)
    assert bool((nearest <= top.errors + 1e-12 * 20).all())
    assert float(bottom.values[0]) >= float(truth[-1]) - 1e-9


def test_errors_are_quadratic_where_there_is_a_gap() -> None:
    a = matrix(SPECTRA["decaying"])
    top, _ = eigenpairs(Dense(a), 4, generator(0, "start"), max_products=6, search=0)
    truth = torch.linalg.eigvalsh(a).flip(0)[:4]
    off = (top.values - truth).abs()
    assert bool((off <= top.errors + 1e-14).all())
    assert float(top.errors[1]) < float(top.residuals[1]) / 10
    assert float(top.errors[3]) == float(top.residuals[3])  # what lies below is not known


def test_the_basis_grows_by_blocks_and_copies_nothing() -> None:
    n = 50
    basis = Basis(torch.zeros(n))
    seen: list[int] = []
    for size, vector in enumerate(torch.eye(n)[:40], start=1):
        basis.append(vector)
        where = [block.data_ptr() for block in basis._blocks]
        assert where[: len(seen)] == seen
        assert sum(block.numel() for block in basis._blocks) < (size + 8) * n
        seen = where
    coefficients = torch.randn(40, 3, generator=generator(0, "c"), dtype=torch.float64)
    torch.testing.assert_close(basis.combine(coefficients)[:40], coefficients.float())
    vector = torch.ones(n)
    torch.testing.assert_close(basis.orthogonalise(vector)[0], torch.cat([torch.zeros(40), torch.ones(10)]))


def test_no_matrix_of_the_dimension_is_copied_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS", 64)
    monkeypatch.setattr(rows, "RUN", 16)
    monkeypatch.setattr(basis, "COLUMNS", 16)
    n, k = 1000, 5
    operator = Dense(torch.diag(2.0 ** -torch.arange(n)))
    with Doubles() as doubles:
        top, _ = eigenpairs(operator, k, generator(0, "start"))
        found = traces(operator, generator(0, "p"), probes=2, vectors=top.vectors, images=top.images)
    assert top.status == "converged"
    assert found.trace.value == pytest.approx(float(operator.matrix.trace()), rel=1e-5)
    assert doubles.largest <= n  # the start vector is drawn in double precision


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 5e-7), (torch.float64, 1e-13)])
def test_many_restarts_leave_the_vectors_orthonormal_and_their_images_products(
    dtype: torch.dtype, off: float
) -> None:
    """Sums of 65,536 numbers in single precision let both drift, to 2e-6 here."""
    entries = torch.rand(70_000, generator=generator(0, "entries"), dtype=torch.float64) ** 3
    operator = Diagonal(entries.to(dtype))
    top, _ = eigenpairs(operator, 3, generator(0, "start"), max_basis=9, max_products=200, tolerance=1e-12)
    gram = rows.inner(top.vectors, top.vectors)
    torch.testing.assert_close(gram, torch.eye(3, dtype=torch.float64), rtol=0, atol=off)
    exact = top.vectors.double() * operator.entries.double()[:, None]
    torch.testing.assert_close(top.images.double(), exact, rtol=0, atol=off)


def test_values_that_a_product_settles_are_rayleigh_quotients() -> None:
    """Of vectors that are off unit length by rounding: five close eigenvalues, asked for nearly to it."""
    entries = torch.rand(65_536, generator=generator(0, "entries")) * 0.99
    entries[:5] = torch.tensor([1, 1.001, 1.002, 1.003, 1.004])
    for seed in (1, 2):
        top, _ = eigenpairs(
            Diagonal(entries), 5, generator(seed, "s"), max_basis=10, max_products=3000, tolerance=2e-6
        )
        assert top.status == "converged"
        off = (top.values - entries[:5].double().flip(0)).abs()
        assert bool((off <= top.errors).all())


class Overwriting(Dense):
    """A matrix that leaves nothing of its argument."""

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        image = super().matvec(vector)
        vector.zero_()
        return image


def test_an_operator_may_overwrite_its_argument() -> None:
    a = matrix(SPECTRA["indefinite"])
    plain, _ = eigenpairs(Dense(a), 3, generator(0, "start"))
    top, _ = eigenpairs(Overwriting(a), 3, generator(0, "start"))
    assert top.status == "converged"
    torch.testing.assert_close(top.values, plain.values)


class Wrong(Dense):
    """A matrix whose first product is too large."""

    calls = 0

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().matvec(vector) * (1.1 if self.calls == 1 else 1.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_product_is_found_where_both_ends_are_one_pair(seed: int) -> None:
    top, _ = eigenpairs(Wrong(torch.ones(1, 1).double()), 1, generator(seed, "start"))
    assert top.status == "not converged: 1 of 1" or float(top.values[0]) == pytest.approx(1)


def test_the_two_ends_share_no_memory() -> None:
    top, bottom = eigenpairs(Dense(torch.diag(torch.tensor([4.0, 1, -2]).double())), 10, generator(0, "s"))
    bottom.values.fill_(7)
    bottom.vectors.fill_(7)
    torch.testing.assert_close(top.values, torch.tensor([4.0, 1, -2]).double())
    assert float(top.vectors.abs().max()) < 2


def test_ends_that_are_rounding_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three eigenvalues, each a thousandfold: nearly all searches end at once."""
    most = 0
    grow = _Space.grow

    def watched(space: _Space, end: int | None) -> bool:
        nonlocal most
        alive = grow(space, end)
        most = max(most, len(space._ends))
        return alive

    monkeypatch.setattr(_Space, "grow", watched)
    entries = torch.tensor([0.1, 0.7, 1 / 3]).double()[torch.arange(600) % 3]
    top, _ = eigenpairs(Diagonal(entries), 20, generator(0, "s"), max_basis=25, max_products=100)
    assert top.status.startswith("converged")
    assert most <= 3


class Diagonal(Operator):
    """A large matrix that watches how much the process holds."""

    def __init__(self, entries: torch.Tensor) -> None:
        self.entries, self.largest, self.products = entries, 0, 0
        self.dim, self.dtype, self.device = len(entries), entries.dtype, entries.device

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        image = self.entries * vector
        self.largest = max(self.largest, resident())
        self.products += 1
        return image


def resident() -> int:
    """Bytes of memory the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_product_leaves_one_vector() -> None:
    entries = (
        torch.rand(12_000_000, generator=generator(0, "entries")) ** 3
    )  # a vector is a piece of memory of its own
    entries[:3] = torch.tensor([1.6, 1.5, 1.4])
    operator, before = Diagonal(entries), resident()
    top, _ = eigenpairs(operator, 3, generator(0, "start"))
    assert top.status == "converged"
    vectors = (operator.largest - before) / (entries.numel() * 4)
    assert operator.products >= 25
    assert vectors < operator.products + BLOCK + 3


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
    assert float(top.relative_residuals.max()) <= 1e-3
    assert top.values.dtype == torch.float64


def test_the_same_seed_gives_the_same_pairs_and_no_global_state_moves() -> None:
    state = torch.get_rng_state()
    pairs = [eigenpairs(Dense(matrix(SPECTRA["close"])), 2, generator(5, "start"))[0] for _ in range(2)]
    assert torch.equal(pairs[0].vectors, pairs[1].vectors)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"k": 0}, "k >= 1"), ({"bottom": 0}, "bottom >= 1"), ({"max_basis": 7}, "= 8, got 7")],
)
def test_numbers_that_are_too_small_are_refused(arguments: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        eigenpairs(Dense(torch.eye(9)), **{"k": 3, "generator": generator(0, "start"), **arguments})  # type: ignore[arg-type]


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        Dense(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


def test_the_outermost_pair_of_either_end_alone_has_nothing_beyond_it() -> None:
    """Both of a bottom are pairs of the matrix diag(5, −4.9, −5.1, −10), off in a direction that was not searched."""
    values, residuals = torch.tensor([[-5.0, -10.0], [0.1, 0.1]], dtype=torch.float64)
    none = torch.zeros(0, 2).double()
    for end, innermost in (("top", 1), ("bottom", 0)):
        pairs = Eigenpairs(values, none, none, residuals, residuals < 1, "converged", 0, end)
        assert float(pairs.errors[innermost]) == 0.1
        assert float(pairs.errors[1 - innermost]) == pytest.approx(0.01 / 4.9)


def test_each_end_is_named() -> None:
    top, bottom = eigenpairs(
        Dense(torch.diag(torch.arange(9.0)).double()), 2, generator(0, "start"), bottom=2
    )
    assert (top.end, bottom.end) == ("top", "bottom")
