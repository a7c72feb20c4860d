import pytest
import torch

from geomlab.linalg import rows
from geomlab.rng import generator


@pytest.mark.parametrize("n", [1, 7, 8, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch, n: int, dtype: torch.dtype) -> None:
    monkeypatch.setattr(rows, "ROWS", 4)
    a = torch.randn(n, 3, generator=generator(n, "a")).to(dtype)
    b = torch.randn(n, 2, generator=generator(n, "b")).to(dtype)
    w = torch.randn(3, 3, generator=generator(n, "w"), dtype=torch.float64)
    torch.testing.assert_close(rows.inner(a, b), a.double().T @ b.double())
    assert rows.dot(a[:, 0], b[:, 0]) == pytest.approx(float(a[:, 0].double() @ b[:, 0].double()))
    values = w[0]
    turned = (a.double() @ w).to(dtype)
    expected = (turned.double() - a.double() * values).norm(dim=0)
    torch.testing.assert_close(rows.residual_norms(turned, a, values), expected)


def test_single_precision_is_summed_in_double() -> None:
    a = torch.full((1 << 18, 1), 1 + 2**-12)
    assert float(rows.inner(a, a)) == (1 << 18) * (1 + 2**-12) ** 2


def test_a_gpu_takes_more_rows_at_a_time() -> None:
    assert rows.at_a_time(torch.device("cpu")) == rows.ROWS < rows.at_a_time(torch.device("cuda", 0))
