"""What is computed of a matrix at a point, in the order in which its large vectors can be let go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geomlab.curvature.finite_difference import FiniteDifference
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.curvature.sampling import Resampled, jackknife, parts
from geomlab.data.batches import Batches
from geomlab.linalg import rows
from geomlab.linalg.blocks import BlockNorms, block_norms
from geomlab.linalg.density import SpectralDensity, spectral_density
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.lanczos import basis_within, eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.linalg.sketch import sketch
from geomlab.linalg.trace import Traces, together, traces
from geomlab.stats import Array, principal_cosines
from geomlab.typing import Float, Vector

PART = 4  # samples, at least: λmax of fewer says little of samples, at the cost of a spectrum; ours
OF_A_PART = 1e-2  # relative residual of its eigenpairs: parts differ by more; ours
Matrix = Hessian | GaussNewton | FiniteDifference
Build = Callable[[Batches], Matrix]


@dataclass(frozen=True)
class Effort:
    """How much is spent; see `Curvature`, whose attributes these are."""

    k: int
    probes: int
    pairs: int
    density: tuple[int, int]
    parts: tuple[int, ...]
    tolerance: float
    max_products: int
    room: float  # bytes for Lanczos vectors

    def solve(
        self, operator: Operator, k: int, generator: torch.Generator, **changed: Any
    ) -> tuple[Eigenpairs, Eigenpairs]:
        """The k largest eigenpairs and the smallest one."""
        settings: dict[str, Any] = {"tolerance": self.tolerance, "max_products": self.max_products, **changed}
        return eigenpairs(operator, k, generator, max_basis=basis_within(self.room, operator, k), **settings)


@dataclass(frozen=True, eq=False)
class Part:
    """The largest eigenvalue over disjoint parts of the samples.

    Attributes:
        n: samples of a part, the mean.
        values: (parts,) λmax of each.
        converged: whether all of their eigenpairs have; where not, values are lower bounds and the overlap says little.
        overlap: mean squared cosine between the top eigenspaces of two halves, NaN of other parts.
        products: spent, in products over all samples.
    """

    n: float
    values: Array
    converged: bool
    overlap: float
    products: float


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything but the large vectors.

    Attributes:
        dim: of the subspace.
        loss: at the point.
        gradient_norm: at the point.
        inputs: what becomes of the inputs where the weights move.
        off: of finite differences, the largest error of a product and whether the loss has kinks; else None.
        top: the k largest pairs, bare.
        bottom: the smallest one, bare.
        traces: by probes.
        norms: of the layers' blocks.
        density: of the spectrum.
        resampled: the top eigenvalues over samples.
        space: (places, k) sketch of the top eigenvectors.
        energies: share of vectors (of the gradient, of θ − θ₀) in the top eigenspace, by name.
        parts: parts of the samples.
    """

    dim: int
    loss: float
    gradient_norm: float
    inputs: str
    off: tuple[float, bool] | None
    top: Eigenpairs
    bottom: Eigenpairs
    traces: Traces
    norms: BlockNorms
    density: SpectralDensity
    resampled: Resampled
    space: Float[Tensor, "places k"]
    energies: dict[str, float]
    parts: tuple[Part, ...]

    @property
    def products(self) -> int:
        """Matrix-vector products spent, those over parts of the samples counted in products over all."""
        over_data = self.resampled.products + sum(part.products for part in self.parts)
        spent = (self.top, self.bottom, self.traces, self.norms, self.density)
        return round(sum(one.products for one in spent) + over_data)


def find(
    build: Build,
    batches: Batches,
    sizes: list[int],
    effort: Effort,
    generator: torch.Generator,
    *,
    moved: Vector | None,
) -> Findings:
    """Compute it all.

    Args:
        build: the matrix of some samples.
        batches: all samples.
        sizes: parameters of each layer, in the order of the vectors' entries.
        effort: how much is spent.
        generator: of all that is random (CPU).
        moved: θ − θ₀, or None.
    """
    matrix = build(batches)
    top, bottom = effort.solve(matrix, effort.k, generator)
    vectors, images = together(top, bottom)
    top, bottom = top.bare, bottom.bare  # so that each vector is held once
    known = torch.cat([top.values, bottom.values])[: vectors.shape[1]]
    deflated: dict[str, Tensor] = {"vectors": vectors, "images": images}
    found = traces(matrix, generator, probes=effort.probes, blocks=sizes, **deflated)
    norms = block_norms(matrix, generator, pairs=effort.pairs, sizes=sizes, **deflated)
    del images, deflated
    density = _density(matrix, known, vectors, effort, generator)
    vectors = vectors[:, : len(top.values)]
    dim, loss, gradient_norm = matrix.dim, matrix.loss, rows.norm(matrix.gradient)
    energies = {
        "gradient": _energy(vectors, matrix.gradient),
        "drift": float("nan") if moved is None else _energy(vectors, moved),
    }
    inputs = matrix.inputs
    off = (matrix.largest_error, matrix.kinks) if isinstance(matrix, FiniteDifference) else None
    del matrix  # the parts' graphs need the room
    space, resampled = sketch(vectors), jackknife(build, batches, vectors, generator)
    del vectors
    tried = splits(effort.parts, len(batches))
    return Findings(
        dim=dim,
        loss=loss,
        gradient_norm=gradient_norm,
        inputs=inputs,
        off=off,
        top=top,
        bottom=bottom,
        traces=found,
        norms=norms,
        density=density,
        resampled=resampled,
        space=space.cpu(),
        energies=energies,
        parts=tuple(_part(build, batches, count, effort, generator) for count in tried),
    )


def splits(parts: Sequence[int], n: int) -> list[int]:
    """Into how many parts n samples are split: of those that are wanted, what leaves enough in each."""
    return [count for count in parts if n >= PART * count]


def _density(
    matrix: Matrix, known: Tensor, vectors: Tensor, effort: Effort, generator: torch.Generator
) -> SpectralDensity:
    probes, steps = effort.density
    fits = int(effort.room / (matrix.dim * matrix.dtype.itemsize))
    steps = max(2, min(steps, fits))
    return spectral_density(matrix, generator, probes=probes, steps=steps, values=known, vectors=vectors)


def _energy(vectors: Tensor, direction: Vector) -> float:
    """The share ‖Vᵀx‖²/‖x‖² of a vector in a space."""
    along, length = rows.inner(vectors, direction[:, None]), rows.norm(direction)
    return float(along.square().sum()) / length**2 if length else float("nan")


def _part(build: Build, batches: Batches, count: int, effort: Effort, generator: torch.Generator) -> Part:
    """λmax of each part; of halves the whole top eigenspace."""
    halves, largest, spaces, products, converged = count == 2, [], [], 0.0, True
    some = parts(batches, count, generator)
    for one in some:
        k = effort.k if halves else 1
        pairs, _ = effort.solve(build(one), k, generator, search=0, tolerance=OF_A_PART)
        largest.append(float(pairs.values[0]))
        converged &= bool(pairs.converged.all())
        products += pairs.products * len(one) / len(batches)
        spaces += [sketch(pairs.vectors).double().cpu().numpy()] if halves else []
    overlap = float((principal_cosines(*spaces) ** 2).mean()) if halves else float("nan")
    return Part(len(batches) / count, torch.tensor(largest).double().numpy(), converged, overlap, products)
