"""Trace, Frobenius norm and block traces from the same random probes, with deflation.

With orthonormal V and P = I − VVᵀ, A = PAP + C where C = QA + AQ − QAQ, Q = VVᵀ, is known exactly from AV. Only PAP is
left to chance: if V spans the dominant eigenvectors, that is where the variance was (Hutch++, Meyer et al. 2021). All
identities hold for any orthonormal V; an eigenpair that has not converged costs variance, not bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.linalg.estimates import Estimate
from geomlab.linalg.operator import Operator
from geomlab.typing import Float


@dataclass(frozen=True, eq=False)
class Traces:
    """What one set of probes tells.

    Attributes:
        trace: Tr A.
        squared_frobenius: ‖A‖_F².
        blocks: Tr A_ℓℓ of each diagonal block.
        products: matrix-vector products spent in all.
    """

    trace: Estimate
    squared_frobenius: Estimate
    blocks: tuple[Estimate, ...]
    products: int


def traces(
    operator: Operator,
    generator: torch.Generator,
    *,
    probes: int = 10,
    blocks: Sequence[int] = (),
    vectors: Float[Tensor, "dim k"] | None = None,
    images: Float[Tensor, "dim k"] | None = None,
) -> Traces:
    """Hutchinson's estimator (1989) with Rademacher probes on the deflated operator.

    Tr A = E zᵀAz, ‖A‖_F² = E ‖Az‖², Tr A_ℓℓ = E z_ℓᵀ(Az)_ℓ.

    Args:
        operator: symmetric.
        generator: of the probes (CPU).
        probes: number of products, at least 1; the standard error needs 2.
        blocks: sizes of the diagonal blocks, in order, covering the dimension; none by default.
        vectors: (dim, k) orthonormal vectors to deflate.
        images: (dim, k) the operator times those.

    Raises:
        ValueError: if probes < 1, the blocks do not cover the dimension, or only one of vectors and images is given.
    """
    if probes < 1 or (blocks and sum(blocks) != operator.dim) or (vectors is None) != (images is None):
        raise ValueError(
            "expected probes >= 1, blocks that add up to the dimension, and vectors with their images"
        )
    v, av = vectors, images
    if v is None or av is None:
        v = av = torch.zeros(operator.dim, 0, dtype=operator.dtype, device=operator.device)
    sizes = list(blocks)
    sums, squares, parts = [], [], []
    for _ in range(probes):
        z = (torch.randint(0, 2, (operator.dim,), generator=generator) * 2 - 1).to(
            operator.device, operator.dtype
        )
        image = _deflate(operator.matvec(_deflate(z, v)), v)
        product = z.double() * image.double()
        sums.append(product.sum())
        squares.append(image.double().square().sum())
        parts.append(_block_sums(product, sizes))
    v, av = v.double(), av.double()
    inner = v.T @ av
    known = 2 * v * av - v * (v @ inner)  # row sums: the diagonal of C
    known_square = 2 * av.square().sum() - inner.square().sum()
    known_blocks = _block_sums(known.sum(1), sizes)
    by_block = torch.stack(parts) + known_blocks
    return Traces(
        _estimate(torch.stack(sums) + known.sum()),
        _estimate(torch.stack(squares) + known_square),
        tuple(_estimate(column) for column in by_block.unbind(1)),
        probes,
    )


def _deflate(x: Tensor, v: Tensor) -> Tensor:
    return x - v @ (v.T @ x)


def _block_sums(values: Tensor, sizes: list[int]) -> Tensor:
    return torch.stack([block.sum() for block in values.split(sizes)]) if sizes else values.new_zeros(0)


def _estimate(samples: Tensor) -> Estimate:
    samples = samples.cpu()
    stderr = float(samples.std() / len(samples) ** 0.5) if len(samples) > 1 else float("nan")
    return Estimate(float(samples.mean()), stderr, samples, len(samples))
