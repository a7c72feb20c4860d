"""How much of a matrix lies in its diagonal blocks: ‖A_ℓℓ‖_F² of each, without a product a block.

A probe z and its partner z′, in which each block's part has a random sign s_ℓ of its own, give
a_ℓ = (Az)_ℓ and b_ℓ = s_ℓ(Az′)_ℓ. Both are A_ℓℓ z_ℓ plus what comes from other blocks, whose signs are independent:
E⟨a_ℓ, b_ℓ⟩ = E‖A_ℓℓ z_ℓ‖² = ‖A_ℓℓ‖_F², without bias, and E‖a‖² = ‖A‖_F² from the same products. Both identities are
ours; the second is Hutchinson's (1989).
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
from geomlab.typing import Float


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
    ⟨(PAPz)_ℓ, C_ℓℓ z_ℓ⟩. Only ‖(PAP)_ℓℓ‖_F² is left to pairs of probes.

    Args:
        operator: symmetric.
        generator: of the probes and signs (CPU).
        pairs: of probes, each two products; at least 1.
        sizes: of the diagonal blocks, in order, covering the dimension.
        vectors: (dim, k) orthonormal vectors to deflate.
        images: (dim, k) the operator times those.

    Raises:
        ValueError: if pairs < 1 or the blocks do not cover the dimension.
    """
    if pairs < 1 or sum(sizes) != operator.dim:
        raise ValueError("expected pairs >= 1, and blocks that add up to the dimension")
    sizes, known = list(sizes), _Known(vectors, images, list(sizes))
    blocks, whole = [], []
    for _ in range(pairs):
        z = signs(operator, generator)
        flips = torch.randint(0, 2, (len(sizes),), generator=generator) * 2 - 1
        flip = flips.to(z).repeat_interleave(torch.tensor(sizes, device=z.device))
        a, b = (deflate(operator.matvec(deflate(x, vectors)), vectors) for x in (z, flip * z))
        whole.append((rows.dot(a, a) + rows.dot(b, b)) / 2 + known.square)
        b *= flip
        pieces = zip(a.split(sizes), b.split(sizes), known.times(z), known.squares, strict=True)
        blocks.append([rows.dot(x, y) + rows.dot(x + y, w) + exact for x, y, w, exact in pieces])
    return BlockNorms(
        torch.tensor(blocks, dtype=torch.float64), torch.tensor(whole, dtype=torch.float64), 2 * pairs
    )


class _Known:
    """C = QA + AQ − QAQ = U·N·Uᵀ with U = [V, AV], by blocks.

    Attributes:
        square: ‖C‖_F².
        squares: ‖C_ℓℓ‖_F² of each block.
    """

    def __init__(self, vectors: Tensor, images: Tensor, sizes: list[int]) -> None:
        self._pairs = list(zip(vectors.split(sizes), images.split(sizes), strict=True))
        middle = rows.inner(vectors, images)
        one = torch.eye(len(middle), dtype=middle.dtype, device=middle.device)
        self._n = torch.cat([torch.cat([-middle, one], 1), torch.cat([one, 0 * one], 1)])
        self.square = self._square(_gram(vectors, images))
        self.squares = [self._square(_gram(v, av)) for v, av in self._pairs]

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
