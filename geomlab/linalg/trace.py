"""Trace, Frobenius norm and block traces from the same random probes, with deflation.

With orthonormal V and P = I − VVᵀ, A = PAP + C where C = QA + AQ − QAQ, Q = VVᵀ, is known exactly from AV. Only PAP is
left to chance: if V spans the dominant eigenvectors, that is where the variance was (Hutch++, Meyer et al. 2021). Those
are of either sign: of an indefinite A the bottom of the spectrum counts as well as the top (`together`). All
identities hold for any orthonormal V; an eigenpair that has not converged costs variance, not bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.linalg.estimates import Eigenpairs, Estimate
from geomlab.linalg.operator import Operator
from geomlab.linalg.random import signs
from geomlab.typing import Float, Vector

# Probes in one `matmat`: ours. At the costs of docs/measures.md a recomputed graph (1.4 g) is then shared by four
# products of 2.2 g, which leaves 10 g of 14 g; eight would leave 9.5 g for twice the memory.
TOGETHER = 4


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

    Tr A = E zᵀAz, ‖A‖_F² = E ‖Az‖², Tr A_ℓℓ = E z_ℓᵀ(Az)_ℓ. Sums are those of `rows`.

    Memory: 3·min(probes, TOGETHER)·dim numbers in the operator's precision (the probes, what is left of them after
    deflation, the images), beside the vectors and images given.

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
    sizes = list(blocks) or [operator.dim]
    squares, parts = [], []
    for first in range(0, probes, TOGETHER):
        drawn = [signs(operator, generator) for _ in range(first, min(first + TOGETHER, probes))]
        images_of = operator.matmat(torch.stack([deflate(z, v) for z in drawn]).T)
        for z, column in zip(drawn, images_of.unbind(1), strict=True):
            image = deflate(column, v, out=column)
            squares.append(rows.dot(image, image))
            parts.append([rows.dot(x, y) for x, y in zip(z.split(sizes), image.split(sizes), strict=True)])
    crosses = [rows.inner(x, y) for x, y in zip(v.split(sizes), av.split(sizes), strict=True)]
    inner = torch.stack(crosses).sum(0)
    known_square = 2 * sum(rows.dot(x, x) for x in av.unbind(1)) - float(inner.square().sum())
    # The diagonal of C is the row sums of 2 V∘AV − V∘(VM), M = VᵀAV: over the rows of a block 2 Tr(VᵀAV) − Σ VᵀV∘M.
    known = [
        2 * float(cross.trace()) - float((rows.inner(x, x) * inner).sum())
        for x, cross in zip(v.split(sizes), crosses, strict=True)
    ]
    eps = torch.finfo(operator.dtype).eps
    by_block = torch.tensor(parts, dtype=torch.float64) + torch.tensor(known, dtype=torch.float64)
    return Traces(
        _estimate(by_block.sum(1), eps),
        _estimate(torch.tensor(squares, dtype=torch.float64) + known_square, eps),
        tuple(_estimate(column, eps) for column in by_block.unbind(1)) if blocks else (),
        probes,
    )


def together(
    top: Eigenpairs, bottom: Eigenpairs
) -> tuple[Float[Tensor, "dim several"], Float[Tensor, "dim several"]]:
    """Orthonormal vectors (dim, k or k + 1) that span the top eigenvectors and the bottom one, and their images.

    Args:
        top: k pairs.
        bottom: the smallest one; it is left out where it lies in the span of the others, as for k = dim.
    """
    vector, image = bottom.vectors[:, 0].clone(), bottom.images[:, 0].clone()
    for _ in range(2):  # "twice is enough"; the image follows by linearity
        along = rows.inner(top.vectors, vector[:, None])[:, 0].to(vector)
        vector -= top.vectors @ along
        image -= top.images @ along
    length = rows.norm(vector)
    if length < 0.5:  # vectors of one symmetric operator: nearly 1, or rounding
        return top.vectors, top.images
    return _appended(top.vectors, vector.div_(length)), _appended(top.images, image.div_(length))


def _appended(columns: Float[Tensor, "dim k"], column: Vector) -> Float[Tensor, "dim several"]:
    """One column more; in memory each is in one piece, as those of `Basis.combine`."""
    return torch.cat([columns.T, column[None]]).T


def deflate(x: Vector, v: Float[Tensor, "dim k"], *, out: Vector | None = None) -> Vector:
    """A copy of x without its components along orthonormal vectors.

    Args:
        x: (dim,).
        v: (dim, k) the vectors.
        out: where the copy goes, x itself too; new memory by default, which takes as long as the rest.
    """
    along = rows.inner(v, x[:, None])[:, 0].to(v)
    result = x.clone() if out is None else out.copy_(x)
    return result.addmv_(v, along, alpha=-1)


def _estimate(samples: Tensor, eps: float) -> Estimate:
    """With rounding, eps of the largest sample, as the least error: with all eigenvectors known there is no other."""
    rounding = eps * float(samples.abs().max())
    stderr = max(float(samples.std() / len(samples) ** 0.5), rounding) if len(samples) > 1 else float("nan")
    return Estimate(float(samples.mean()), stderr, samples, len(samples))
