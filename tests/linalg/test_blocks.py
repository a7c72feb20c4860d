import pytest
import torch

from geomlab.curvature.anisotropy import of_blocks
from geomlab.linalg.blocks import block_norms
from geomlab.linalg.operator import Dense
from geomlab.rng import generator

SIZES = [3, 5, 12]


def symmetric() -> torch.Tensor:
    a = torch.randn(20, 20, generator=generator(0, "matrix"), dtype=torch.float64)
    return a + a.T


def squares(a: torch.Tensor) -> list[float]:
    starts = [sum(SIZES[:i]) for i in range(len(SIZES))]
    return [float(a[s : s + n, s : s + n].square().sum()) for s, n in zip(starts, SIZES, strict=True)]


def basis(k: int) -> torch.Tensor:
    q, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator(1, "v"), dtype=torch.float64))
    return q[:, :k]


@pytest.mark.parametrize("k", [0, 4])
def test_unbiased_within_its_own_error_for_any_orthonormal_vectors(k: int) -> None:
    a, v = symmetric(), basis(k)
    found = block_norms(Dense(a), generator(2, "p"), pairs=1000, sizes=SIZES, vectors=v, images=a @ v)
    samples = torch.cat([found.blocks, found.whole[:, None]], 1)
    truth = torch.tensor([*squares(a), float(a.square().sum())], dtype=torch.float64)
    stderr = samples.std(0) / 1000**0.5
    assert ((samples.mean(0) - truth).abs() < 4 * stderr).all()
    assert (stderr < 0.2 * truth).all()
    assert found.products == 2000


def test_exact_where_the_vectors_span_the_space() -> None:
    a, v = symmetric(), basis(20)
    found = block_norms(Dense(a), generator(2, "p"), pairs=2, sizes=SIZES, vectors=v, images=a @ v)
    for row in found.blocks:
        assert row.tolist() == pytest.approx(squares(a))
    assert found.whole.tolist() == pytest.approx([float(a.square().sum())] * 2)


def test_a_block_diagonal_matrix_couples_no_layers_and_one_off_the_diagonal_only_couples_them() -> None:
    inside = torch.block_diag(*(torch.full((n, n), 1.0 + n) for n in SIZES)).double()
    outside = torch.ones(20, 20).double() - torch.block_diag(*(torch.ones(n, n) for n in SIZES)).double()
    none = torch.zeros(20, 0).double()
    for matrix, share in ((inside, 0.0), (outside, 1.0)):
        norms = block_norms(
            Dense(matrix), generator(0, "p"), pairs=400, sizes=SIZES, vectors=none, images=none
        )
        found = of_blocks(norms)["cross_layer_share"]
        assert found.value == pytest.approx(share, abs=4 * found.stderr + 1e-12)
        assert found.stderr < 0.1


def test_blocks_that_do_not_cover_the_dimension_are_refused() -> None:
    none = torch.zeros(20, 0).double()
    for pairs, sizes in ((0, SIZES), (1, [3, 5])):
        with pytest.raises(ValueError, match="pairs >= 1, and blocks that add up"):
            block_norms(
                Dense(symmetric()), generator(0, "p"), pairs=pairs, sizes=sizes, vectors=none, images=none
            )
