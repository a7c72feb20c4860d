"""How much of a matrix lies in its diagonal blocks: ‖A_ℓℓ‖_F² of each, without a product a block.

A probe z is split at random into two halves of the blocks, each with a product of its own. Of a block ℓ, u_ℓ is what
its own half gives, A_ℓℓ z_ℓ among it, and v_ℓ what the other does. Any other block m is in ℓ's half with probability q,
so that with O_ℓ = Σ_{m≠ℓ} ‖A_ℓm‖_F²

    E‖u_ℓ‖² = ‖A_ℓℓ‖_F² + q·O_ℓ,    E‖v_ℓ‖² = (1 − q)·O_ℓ,    E‖u_ℓ‖² − q/(1 − q)·E‖v_ℓ‖² = ‖A_ℓℓ‖_F²,

without bias; with two blocks q = 0, and nothing but z is left to chance. E‖u + v‖² = ‖A‖_F² is Hutchinson's (1989); the
rest is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.linalg.estimates import of_probes
from geomlab.linalg.operator import Operator
from geomlab.linalg.random import signs
from geomlab.linalg.trace import deflate
from geomlab.typing import Bool, Float, Vector


@dataclass(frozen=True, eq=False)
class BlockNorms:
    """What pairs of probes tell.

    Attributes:
        blocks: (pairs, blocks) samples of ‖A_ℓℓ‖_F², whose means are unbiased; single ones may be negative.
        whole: (pairs,) samples of ‖A‖_F².
        products: matrix-vector products spent.
    """

    blocks: Float[Tensor, "pairs blocks"]
    whole: Float[Tensor, "pairs"]
    products: int

    @property
    def status(self) -> str:
        """`measured`, or that there is no error."""
        return of_probes(len(self.whole))


def block_norms(
    operator: Operator,
    generator: torch.Generator,
    *,
    pairs: int,
    sizes: Sequence[int],
    vectors: Float[Tensor, "dim k"],
    images: Float[Tensor, "dim k"],
) -> BlockNorms:
    """Squared Frobenius norms of the diagonal blocks and of the whole, deflated.

    With P = I − VVᵀ, A = PAP + C as in `trace`: C is known, so ‖C_ℓℓ‖_F² is exact and ⟨(PAP)_ℓℓ, C_ℓℓ⟩ is the mean of
    ⟨(PAPz)_ℓ, C_ℓℓ z_ℓ⟩. Only ‖(PAP)_ℓℓ‖_F² is left to chance.

    Args:
        operator: symmetric.
        generator: of the probes and of their halves (CPU).
        pairs: of half probes, each two products (one where there is one block); at least 1.
        sizes: of the diagonal blocks, in order, covering the dimension.
        vectors: (dim, k) orthonormal vectors to deflate.
        images: (dim, k) the operator times those.

    Raises:
        ValueError: if pairs < 1 or the blocks do not cover the dimension.
    """
    if pairs < 1 or sum(sizes) != operator.dim:
        raise ValueError("expected pairs >= 1, and blocks that add up to the dimension")
    sizes, known = list(sizes), _Known(vectors, images, list(sizes))
    blocks, whole, products = [], [], 0
    for _ in range(pairs):
        z, half = signs(operator, generator), _half(len(sizes), generator)
        first, second = z.clone(), z.clone()
        for inside, one, other in zip(half.tolist(), first.split(sizes), second.split(sizes), strict=True):
            (other if inside else one).zero_()
        u = _image(operator, first, vectors)
        v = _image(operator, second, vectors) if len(sizes) > 1 else torch.zeros_like(u)
        del first, second
        products += min(2, len(sizes))
        whole.append(rows.dot(u, u) + rows.dot(v, v) + known.square)  # ⟨u, v⟩ is zero in the mean
        parts = zip(half.tolist(), u.split(sizes), v.split(sizes), strict=True)
        sides = ((x, y) if inside else (y, x) for inside, x, y in parts)
        members = [int((half == inside).sum()) for inside in half]
        pieces = zip(sides, members, known.times(z), known.squares, strict=True)
        blocks.append(
            [_own(*two, m, len(sizes)) + 2 * rows.dot(two[0], w) + exact for two, m, w, exact in pieces]
        )
    return BlockNorms(
        torch.tensor(blocks, dtype=torch.float64), torch.tensor(whole, dtype=torch.float64), products
    )


def _image(operator: Operator, vector: Vector, v: Float[Tensor, "dim k"]) -> Vector:
    """PAP times a vector, which is changed."""
    image = operator.matvec(deflate(vector, v, out=vector))
    return deflate(image, v, out=image)


def _half(count: int, generator: torch.Generator) -> Bool[Tensor, "blocks"]:
    """Which blocks are in the first half, the larger one of an odd number."""
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=generator)[: -(-count // 2)]] = True
    return chosen


def _own(u: Tensor, v: Tensor, members: int, count: int) -> float:
    """An estimate of ‖A_ℓℓ‖_F² from what a block gets of its own half and of the other.

    Args:
        u: (size,) of its own half.
        v: (size,) of the other.
        members: blocks in its half.
        count: of blocks in all.
    """
    odds = (members - 1) / (count - members) if count > members else 0.0  # q/(1 − q)
    return rows.dot(u, u) - odds * rows.dot(v, v)


class _Known:
    """C = QA + AQ − QAQ = U·N·Uᵀ with U = [V, AV], by blocks.

    Attributes:
        square: ‖C‖_F².
        squares: ‖C_ℓℓ‖_F² of each block.
    """

    def __init__(self, vectors: Tensor, images: Tensor, sizes: list[int]) -> None:
        self._pairs = list(zip(vectors.split(sizes), images.split(sizes), strict=True))
        grams = [_gram(v, av) for v, av in self._pairs]
        whole, k = torch.stack(grams).sum(0), vectors.shape[1]
        one = torch.eye(k, dtype=whole.dtype, device=whole.device)
        self._n = torch.cat([torch.cat([-whole[:k, k:], one], 1), torch.cat([one, 0 * one], 1)])
        self.square = self._square(whole)
        self.squares = [self._square(gram) for gram in grams]

    def _square(self, gram: Tensor) -> float:
        turned = self._n @ gram
        return float((turned * turned.T).sum())

    def times(self, z: Tensor) -> list[Tensor]:
        """C_ℓℓ z_ℓ of each block."""
        found = []
        for (v, av), part in zip(self._pairs, z.split([len(v) for v, _ in self._pairs]), strict=True):
            along = torch.cat([rows.inner(x, part[:, None])[:, 0] for x in (v, av)])
            first, second = (self._n @ along).to(v).chunk(2)
            found.append(v @ first + av @ second)
        return found


def _gram(v: Tensor, av: Tensor) -> Tensor:
    """UᵀU of U = [v, av], in fp64."""
    cross = rows.inner(v, av)
    return torch.cat([torch.cat([rows.inner(v, v), cross], 1), torch.cat([cross.T, rows.inner(av, av)], 1)])
