import pytest
import torch

from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense
from geomlab.linalg.trace import together, traces
from geomlab.rng import generator

SIZES = [3, 5, 12]


def symmetric(n: int = 20) -> torch.Tensor:
    a = torch.randn(n, n, generator=generator(0, "matrix"), dtype=torch.float64)
    return a + a.T


def block_traces(a: torch.Tensor) -> list[float]:
    return [float(part.sum()) for part in a.diagonal().split(SIZES)]


def test_one_rademacher_probe_is_exact_on_a_diagonal() -> None:
    diagonal = torch.arange(-4.0, 16.0, dtype=torch.float64)
    found = traces(Dense(torch.diag(diagonal)), generator(0, "probes"), probes=1, blocks=SIZES)
    assert found.trace.value == pytest.approx(float(diagonal.sum()))
    assert found.squared_frobenius.value == pytest.approx(float(diagonal.square().sum()))
    assert [block.value for block in found.blocks] == pytest.approx(block_traces(torch.diag(diagonal)))
    assert found.trace.stderr != found.trace.stderr  # a single probe tells nothing of its error


@pytest.mark.parametrize("k", [0, 4])
def test_unbiased_within_its_own_error_for_any_orthonormal_vectors(k: int) -> None:
    a = symmetric()
    v, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator(1, "v"), dtype=torch.float64))
    v = v[:, :k]  # not eigenvectors
    found = traces(Dense(a), generator(2, "probes"), probes=1500, blocks=SIZES, vectors=v, images=a @ v)
    pairs = [(found.trace, float(a.trace())), (found.squared_frobenius, float(a.square().sum()))]
    pairs += list(zip(found.blocks, block_traces(a), strict=True))
    for estimate, truth in pairs:
        assert abs(estimate.value - truth) < 4 * estimate.stderr
        assert 0 < estimate.stderr < 0.1 * float(a.norm()) ** 2


def test_exact_where_the_vectors_span_the_space() -> None:
    a = symmetric()
    v, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator(1, "v"), dtype=torch.float64))
    found = traces(Dense(a), generator(2, "probes"), probes=2, blocks=SIZES, vectors=v, images=a @ v)
    assert found.trace.value == pytest.approx(float(a.trace()))
    assert found.squared_frobenius.value == pytest.approx(float(a.square().sum()))
    assert [block.value for block in found.blocks] == pytest.approx(block_traces(a))


def test_deflating_the_top_eigenvectors_lowers_the_error() -> None:
    values = torch.cat([torch.tensor([100.0, 50.0]), torch.ones(18)]).double()
    q, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator(3, "q"), dtype=torch.float64))
    a = q @ torch.diag(values) @ q.T
    plain = traces(Dense((a + a.T) / 2), generator(4, "probes"), probes=50)
    deflated = traces(
        Dense((a + a.T) / 2), generator(4, "probes"), probes=50, vectors=q[:, :2], images=a @ q[:, :2]
    )
    assert deflated.trace.stderr < plain.trace.stderr / 10


@pytest.mark.parametrize(
    "arguments", [{"probes": 0}, {"blocks": [1, 2]}, {"vectors": torch.eye(20)[:, :1].double()}]
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="probes >= 1, blocks that add up"):
        traces(Dense(symmetric()), generator(0, "probes"), **arguments)  # type: ignore[arg-type]


def indefinite() -> torch.Tensor:
    """Two eigenvalues stand out above and one below, as of a loss under attack."""
    values = torch.cat([torch.tensor([20.0, 10.0]), torch.linspace(-0.2, 0.2, 37), torch.tensor([-50.0])])
    q, _ = torch.linalg.qr(torch.randn(40, 40, generator=generator(3, "q"), dtype=torch.float64))
    a = q @ torch.diag(values.double()) @ q.T
    return (a + a.T) / 2


def test_the_bottom_eigenvector_is_deflated_as_well() -> None:
    a = indefinite()
    top, bottom = eigenpairs(Dense(a), 2, generator(0, "start"))
    alone = traces(Dense(a), generator(4, "p"), probes=50, vectors=top.vectors, images=top.images)
    v, av = together(top, bottom)
    both = traces(Dense(a), generator(4, "p"), probes=50, vectors=v, images=av)
    assert both.trace.stderr < alone.trace.stderr / 10
    assert both.squared_frobenius.stderr < alone.squared_frobenius.stderr / 10
    assert abs(both.trace.value - float(a.trace())) < 4 * both.trace.stderr


@pytest.mark.parametrize("products", [4, 9, 200])
@pytest.mark.parametrize(("k", "columns"), [(2, 3), (39, 40), (40, 40), (50, 40)])
def test_top_and_bottom_together_are_orthonormal_with_their_images(
    k: int, columns: int, products: int
) -> None:
    a = indefinite()
    v, av = together(*eigenpairs(Dense(a), k, generator(0, "start"), max_products=products))
    assert v.shape[1] == columns or (products < 200 and v.shape[1] == min(k, 40))
    torch.testing.assert_close(v.T @ v, torch.eye(v.shape[1], dtype=torch.float64))
    torch.testing.assert_close(av, a @ v)


def test_a_bottom_vector_within_the_top_space_is_dropped() -> None:
    for a in (torch.eye(9).double(), torch.zeros(9, 9).double(), torch.ones(1, 1).double()):
        top, bottom = eigenpairs(Dense(a), len(a), generator(0, "start"))
        assert together(top, bottom)[0] is top.vectors


class Counted(Dense):
    """Counts how often it is asked for several products, and for how many."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(matrix)
        self.asked: list[int] = []

    def matmat(self, vectors: torch.Tensor) -> torch.Tensor:
        self.asked.append(vectors.shape[1])
        return super().matmat(vectors)


def test_probes_come_together_and_their_number_in_one_product_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator = Counted(symmetric())
    v, _ = torch.linalg.qr(torch.randn(20, 3, generator=generator(1, "v"), dtype=torch.float64))
    options = {"probes": 10, "blocks": SIZES, "vectors": v, "images": operator.matrix @ v}
    together_ = traces(operator, generator(0, "p"), **options)  # type: ignore[arg-type]
    assert operator.asked == [4, 4, 2]
    monkeypatch.setattr("geomlab.linalg.trace.TOGETHER", 1)
    alone = traces(operator, generator(0, "p"), **options)  # type: ignore[arg-type]
    assert operator.asked[3:] == [1] * 10
    torch.testing.assert_close(together_.trace.samples, alone.trace.samples)
    torch.testing.assert_close(together_.squared_frobenius.samples, alone.squared_frobenius.samples)
    assert together_.products == alone.products == 10


@pytest.mark.parametrize("k", [0, 5])
def test_the_intervals_of_trace_and_frobenius_norm_cover_the_truth(k: int) -> None:
    """Over 200 seeds, of 95 % intervals 90 to 99 of 100: with and without the outliers of the spectrum deflated."""
    outliers = torch.tensor([50.0, 30, 20, 12, 8], dtype=torch.float64)
    bulk = torch.randn(295, generator=generator(5, "bulk"), dtype=torch.float64)
    values = torch.cat([outliers, bulk])
    q, _ = torch.linalg.qr(torch.randn(300, 300, generator=generator(6, "q"), dtype=torch.float64))
    a = q @ torch.diag(values) @ q.T
    matrix, v = Dense((a + a.T) / 2), q[:, :k]
    covered = []
    for seed in range(200):
        found = traces(matrix, generator(seed, "probes"), probes=30, vectors=v, images=a @ v)
        (low, high), (low2, high2) = found.trace.interval, found.squared_frobenius.interval
        covered.append(
            [
                low <= float(values.sum()) <= high,
                low2 <= float(values.square().sum()) <= high2,
            ]
        )
    for share in torch.tensor(covered).double().mean(0).tolist():
        assert 0.90 <= share <= 0.99
