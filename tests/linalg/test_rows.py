import pytest
import torch

from geomlab.linalg import rows
from geomlab.rng import generator


@pytest.mark.parametrize("n", [1, 7, 8, 20, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch, n: int, dtype: torch.dtype) -> None:
    monkeypatch.setattr(rows, "ROWS", 8)
    monkeypatch.setattr(rows, "RUN", 3)
    a = torch.randn(n, 3, generator=generator(n, "a")).to(dtype)
    b = torch.randn(n, 2, generator=generator(n, "b")).to(dtype)
    w = torch.randn(3, 3, generator=generator(n, "w"), dtype=torch.float64)
    torch.testing.assert_close(rows.inner(a, b), a.double().T @ b.double())
    assert rows.dot(a[:, 0], b[:, 0]) == pytest.approx(float(a[:, 0].double() @ b[:, 0].double()))
    values = w[0]
    turned = (a.double() @ w).to(dtype)
    expected = (turned.double() - a.double() * values).norm(dim=0)
    torch.testing.assert_close(rows.residual_norms(turned, a, values), expected)


def of_length_1(dim: int, count: int) -> torch.Tensor:
    """Columns of all kinds: of either sign, positive, of very different sizes."""
    rng = generator(dim, "columns")
    drawn = torch.randn(dim, count, generator=rng, dtype=torch.float64)
    drawn[:, 1].abs_()
    drawn[:, 2] *= torch.linspace(-6, 0, dim, dtype=torch.float64).mul(10).exp()
    return (drawn / drawn.norm(dim=0)).float()


def test_of_single_precision_next_to_nothing_is_lost() -> None:
    """A plain sum in single precision is off by hundreds of times as much."""
    a = of_length_1(10**7 + 5, 4)
    exact = a.double().T @ a.double()
    for columns in (a, a.T.contiguous().T):  # the latter as a basis has them
        off = (rows.inner(columns, columns) - exact).abs()
        assert float(off.diag().max()) < 3e-8
        assert float((off - torch.diag(off.diag())).max()) < 1e-9
        assert float((rows.inner(columns, columns[:, :1]) - exact[:, :1]).abs()[1:].max()) < 1e-9
        assert rows.dot(columns[:, 1], columns[:, 1]) == pytest.approx(float(exact[1, 1]), rel=3e-8)


@pytest.mark.parametrize("entry", [1 + 2**-12, 0.1, 1 / 3])
def test_equal_entries_round_alike(entry: float) -> None:
    a = torch.full((1 << 18, 1), entry)
    assert float(rows.inner(a, a)) == pytest.approx((1 << 18) * float(a[0, 0].double()) ** 2, rel=1e-6)


def test_signs_are_counted() -> None:
    a = torch.ones(10**6 + 3, 1)
    a[::3] = -1
    assert float(rows.inner(a, a)) == len(a)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-23, 1e-15, 1e15, 1e25])
def test_squares_beyond_single_precision(size: float) -> None:
    a = size * (1 + torch.rand(2000, 1, generator=generator(0, "entries")))
    wide = a.double()
    assert rows.dot(a[:, 0], a[:, 0]) == pytest.approx(float(wide.square().sum()), rel=1e-7, abs=0)
    assert float(rows.inner(a, torch.ones_like(a))) == pytest.approx(float(wide.sum()), rel=1e-7, abs=0)


def test_double_precision_is_summed_in_double() -> None:
    a = torch.full((1 << 18, 1), 1 + 2.0**-12, dtype=torch.float64)
    assert float(rows.inner(a, a)) == (1 << 18) * (1 + 2**-12) ** 2


def test_a_gpu_takes_more_rows_at_a_time() -> None:
    assert rows.at_a_time(torch.device("cpu")) == rows.ROWS < rows.at_a_time(torch.device("cuda", 0))
