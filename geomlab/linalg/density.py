"""The spectral density by stochastic Lanczos quadrature, with bands (Ubaru et al. 2017; Ghorbani et al. 2019).

A probe z has a spectral measure Σ (zᵀuᵢ)²/‖z‖² at the eigenvalues λᵢ, whose mean over random z is the density of the
spectrum. Lanczos from z gives its Gauss quadrature: nodes and weights that are right for all polynomials of degree
below twice the steps. Eigenpairs that are known are taken out of z and stand where they are, with weight 1/dim each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from geomlab import stats
from geomlab.linalg import rows
from geomlab.linalg.basis import Basis
from geomlab.linalg.estimates import MEASURED
from geomlab.linalg.operator import Operator
from geomlab.linalg.random import signs
from geomlab.linalg.trace import deflate
from geomlab.typing import Float, Vector

Array = NDArray[np.float64]

# Least share of a proportion's variance that a smoothed one is taken to have: of points beyond nearly all eigenvalues
# the nodes tell less than they seem to. Ours, from the coverage of tests/linalg/test_density.py.
LEAST_SPREAD = 0.03
KNOWN = 50  # a spectrum that is known is smoothed by this part of its range: ours


@dataclass(frozen=True, eq=False)
class Band:
    """A function of the eigenvalue with its pointwise 95 % interval.

    Attributes:
        value: (points,) the mean over probes.
        low: (points,) lower end.
        high: (points,) upper end.
    """

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """Gauss quadratures of the spectral measure, one a probe.

    Attributes:
        nodes: (probes, steps) Ritz values; where a probe's space was invariant before, the last ones are NaN.
        weights: (probes, steps) of the nodes, zero there; they add up to the part of the spectrum that is not known.
        coarse: nodes and weights, likewise, of the first half of the steps: what more steps still change.
        known: (k,) eigenvalues that were taken out, of weight 1/dim each.
        dim: number of eigenvalues.
        products: matrix-vector products spent.
    """

    nodes: Array
    weights: Array
    coarse: tuple[Array, Array]
    known: Array
    dim: int
    products: int

    @property
    def status(self) -> str:
        """`measured`; `exact` where all eigenvalues are known; or of how many probes the space was exhausted."""
        if not self.nodes.size:
            return "exact"
        ended = int(np.isnan(self.nodes).any(axis=1).sum())
        return f"{ended} of {len(self.nodes)} probes ended in an invariant space" if ended else MEASURED

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest of all nodes and known eigenvalues."""
        found = np.append(self.nodes[np.isfinite(self.nodes)], self.known)
        return float(found.min()), float(found.max())

    @property
    def resolution(self) -> float:
        """The range of the nodes over the steps: what is narrower in the density is not resolved.

        It is 10⁻⁶ of the largest |eigenvalue| at least, and 1 of a matrix that is zero: few nodes have a range of
        rounding. Where all eigenvalues are known it is for the eye alone.
        """
        low, high = self.bulk
        largest = max(map(abs, self.range))
        return max((high - low) / (int(self.nodes.shape[1]) or KNOWN), 1e-6 * largest) or 1.0

    @property
    def bulk(self) -> tuple[float, float]:
        """Smallest and largest of the nodes, or of the known eigenvalues where those are all."""
        inner = self.nodes if self.nodes.size else self.known
        return float(np.nanmin(inner)), float(np.nanmax(inner))

    def functional(self, function: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Samples (probes,) of Tr f(A) = Σ f(λᵢ), one a probe, by Gauss quadrature: of all steps, and of half of them.

        What lies between the means of the two says how well the steps resolve it. Of a smooth f that vanishes fast; of
        |x| and many eigenvalues near zero it does not, and is a part of the error that more probes do not lower.

        Args:
            function: f, of an array of eigenvalues.
        """
        return self._traces(function, self.nodes, self.weights), self._traces(function, *self.coarse)

    def _traces(self, function: Callable[[Array], Array], nodes: Array, weights: Array) -> Array:
        exact = float(function(self.known).sum())
        rules = zip(nodes, weights, strict=True)
        return np.array([self.dim * float(function(x[w > 0]) @ w[w > 0]) + exact for x, w in rules])

    def density(self, grid: Array, *, width: float) -> Band:
        """The density smoothed by a normal of that standard deviation, per unit of eigenvalue.

        Args:
            grid: (points,) eigenvalues.
            width: of the normal; below `resolution` the nodes themselves show.
        """
        peak = 1 / (width * np.sqrt(2 * np.pi))
        band = self._band(lambda x: np.exp(-(x**2) / 2), grid, width)
        return Band(peak * band.value, peak * band.low, peak * band.high)

    def cdf(self, grid: Array, *, width: float) -> Band:
        """The share of eigenvalues below each point, smoothed by a normal of that standard deviation."""
        return self._band(ndtr, grid, width)

    def _band(self, kernel: Callable[[Array], Array], grid: Array, width: float) -> Band:
        """Mean over probes of Σ weight · kernel((x − node)/width), for a kernel in [0, 1], and its interval.

        The weight that a random direction of m dimensions gives to j of them is Beta(j/2, (m − j)/2): of variance
        2p(1 − p)/(m + 2), p = j/m, as a proportion of (m + 2)/2 trials. So the interval is Wilson's of a proportion, in
        so many trials a probe, more where the kernel cuts no 0 and 1 but varies less.
        """
        exact = kernel((grid[:, None] - self.known) / width).sum(1) / self.dim
        m = self.dim - len(self.known)
        if m == 0:
            return Band(exact, exact, exact)
        first, second = np.zeros(len(grid)), np.zeros(len(grid))
        for nodes, weights in zip(self.nodes, self.weights, strict=True):
            there = weights > 0
            values, shares = kernel((grid[:, None] - nodes[there]) / width), weights[there] * self.dim / m
            first += values @ shares / len(self.nodes)
            second += values**2 @ shares / len(self.nodes)
        p = np.clip(first, 0, 1)
        spread = (second - p**2) / np.maximum(p * (1 - p), np.finfo(float).tiny)
        trials = len(self.nodes) * (m + 2) / 2 / np.clip(spread, LEAST_SPREAD, 1)
        low, high = stats.score_interval(p, trials)
        return Band(*(exact + m / self.dim * share for share in (p, low, high)))


def spectral_density(
    operator: Operator,
    generator: torch.Generator,
    *,
    probes: int = 10,
    steps: int = 30,
    values: Float[Tensor, "k"] | None = None,
    vectors: Float[Tensor, "dim k"] | None = None,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature with Rademacher probes and full reorthogonalisation.

    With P = I − VVᵀ, what is left to chance is PAP on the complement of V. If V are eigenvectors its spectrum is the
    rest of A's; a pair with residual r moves each of the other eigenvalues by at most r.

    Memory: steps·dim numbers in the operator's precision, of one probe at a time. Its 95 % intervals are those of the
    share of a random direction in some of the eigenvectors, which is known: of few probes a bootstrap's are too narrow,
    and Student's too, since small shares are skewed (tests/linalg/test_density.py measures the coverage of these).
    They do not hold what `steps` do not resolve; see `SpectralDensity.resolution`.

    Args:
        operator: symmetric.
        generator: of the probes (CPU).
        probes: at least 1.
        steps: products a probe, at most the dimension less k.
        values: (k,) known eigenvalues.
        vectors: (dim, k) their orthonormal eigenvectors; with all of them there is nothing left to chance.

    Raises:
        ValueError: if probes or steps < 1, or values and vectors are not as many.
    """
    if vectors is None:
        vectors = torch.zeros(operator.dim, 0, dtype=operator.dtype, device=operator.device)
    known = torch.zeros(0, dtype=torch.float64) if values is None else values.double().cpu()
    k = vectors.shape[1]
    if probes < 1 or steps < 1 or len(known) != k or k > operator.dim:
        raise ValueError(
            "expected probes >= 1, steps >= 1, and a value for each of no more vectors than dimensions"
        )
    steps = min(steps, operator.dim - k)
    if steps == 0:  # the spectrum is known
        none = np.zeros((probes, 0))
        return SpectralDensity(none, none, (none, none), known.numpy(), operator.dim, 0)
    fine, coarse = ((np.full((probes, m), np.nan), np.zeros((probes, m))) for m in (steps, -(-steps // 2)))
    products = 0
    for number in range(probes):
        jacobi = _tridiagonal(operator, _start(operator, generator, vectors), vectors, steps)
        products += len(jacobi)
        for nodes, weights in (fine, coarse):
            theta, s = np.linalg.eigh(jacobi[: nodes.shape[1], : nodes.shape[1]])
            nodes[number, : len(theta)], weights[number, : len(theta)] = (
                theta,
                s[0] ** 2 * (1 - k / operator.dim),
            )
    return SpectralDensity(*fine, coarse, known.numpy(), operator.dim, products)


def _start(operator: Operator, generator: torch.Generator, vectors: Tensor) -> Vector:
    """A probe without its components along vectors: drawn again where nothing but rounding is left of it."""
    while True:
        probe = signs(operator, generator)
        length = rows.norm(probe)
        rest = deflate(probe, vectors, out=probe)
        if rows.norm(rest) > torch.finfo(operator.dtype).eps ** 0.5 * length:
            return rest


def _tridiagonal(operator: Operator, start: Vector, vectors: Tensor, steps: int) -> Array:
    """The Jacobi matrix of the spectral measure of PAP at a vector of its range; smaller where that is exhausted.

    Its eigenvalues are the nodes of the Gauss quadrature, the squared first entries of its eigenvectors the weights,
    which add up to 1 (Golub & Welsch 1969).
    """
    basis = Basis(start)
    alphas: list[float] = []
    betas: list[float] = []
    vector, length = start, rows.norm(start)
    while len(alphas) < steps:
        basis.append(vector.div_(length))
        image = operator.matvec(vector)
        deflate(image, vectors, out=image)
        expected = torch.tensor([0.0] * (len(alphas) - 1) + betas[-1:] + [rows.dot(vector, image)]).double()
        vector, along, length = basis.orthogonalise(image, expected, out=image)
        alphas.append(float(along[-1]))
        scale = max(map(abs, [*alphas, *betas]))
        if length <= 100 * torch.finfo(operator.dtype).eps * scale:
            break
        betas.append(length)
    off = betas[: len(alphas) - 1]
    return np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1)
