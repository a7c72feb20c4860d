"""Findings as labelled variables (results/FORMAT.md)."""

from typing import Any

import numpy as np

from geomlab.curvature import anisotropy
from geomlab.linalg.density import SpectralDensity
from geomlab.measure.curvature.findings import Findings
from geomlab.stats import Array, mean_stderr

POINTS = 401  # of the density's grid: ours
Values = dict[str, Any]


def spectrum(found: Findings) -> Values:
    """Eigenvalues with their residuals, and their errors over samples."""
    top, bottom = found.top, found.bottom
    return {
        "eigenvalue": ("eigen", top.values.numpy()),
        "residual": ("eigen", top.relative_residuals.numpy()),
        "converged": ("eigen", top.converged.numpy().astype(np.int8)),
        "eigenvalue_stderr": ("eigen", found.resampled.stderr),
        "eigenvalue_low": ("eigen", top.values.numpy() - found.resampled.half_width),
        "eigenvalue_high": ("eigen", top.values.numpy() + found.resampled.half_width),
        "smallest_eigenvalue": float(bottom.values[0]),
        "smallest_residual": float(bottom.relative_residuals[0]),
        "smallest_converged": int(bottom.converged[0]),
        "status": top.status,
    }


def layers(found: Findings, sizes: list[int]) -> Values:
    """Traces, whole and by layer."""
    value = np.array([block.value for block in found.traces.blocks])
    stderr = np.array([block.stderr for block in found.traces.blocks])
    square = found.traces.squared_frobenius
    frobenius = max(square.value, 0.0) ** 0.5
    return {
        "trace": found.traces.trace.value,
        "trace_stderr": found.traces.trace.stderr,
        "frobenius": frobenius,
        # d sqrt(x) = dx / (2 sqrt(x))
        "frobenius_stderr": square.stderr / (2 * frobenius) if frobenius else 0.0,
        "layer_dim": ("layer", np.array(sizes)),
        "layer_trace": ("layer", value),
        "layer_trace_stderr": ("layer", stderr),
        "layer_kappa": ("layer", value / sizes),
        "layer_kappa_stderr": ("layer", stderr / sizes),
    }


def unequal(found: Findings, sizes: list[int]) -> Values:
    """The anisotropy."""
    quantities = {
        **anisotropy.of_traces(found.top, found.traces, sizes),
        **anisotropy.of_density(found.density, found.traces.squared_frobenius),
        **anisotropy.of_blocks(found.norms),
    }
    every = [quantities[name] for name in anisotropy.QUANTITIES]
    return {
        "anisotropy": ("quantity", np.array([one.value for one in every])),
        "anisotropy_stderr": ("quantity", np.array([one.stderr for one in every])),
        "anisotropy_low": ("quantity", np.array([one.low for one in every])),
        "anisotropy_high": ("quantity", np.array([one.high for one in every])),
    }


def density(found: SpectralDensity) -> Values:
    """The density and the distribution function on a grid that is finer where the quadrature's nodes are."""
    width = found.resolution
    low, high = found.range
    grid = _grid(found, width, low, high)
    pdf, cdf = found.density(grid, width=width), found.cdf(grid, width=width)
    return {
        "density_at": ("point", grid),
        "density": ("point", pdf.value),
        "density_low": ("point", pdf.low),
        "density_high": ("point", pdf.high),
        "cdf": ("point", cdf.value),
        "cdf_low": ("point", cdf.low),
        "cdf_high": ("point", cdf.high),
        "density_width": width,
        "density_probes": len(found.nodes),
        "density_steps": found.nodes.shape[1],
    }


def _grid(found: SpectralDensity, width: float, low: float, high: float) -> Array:
    """Half of the points over all eigenvalues, half where those are that are not known."""
    inner = found.bulk
    half = POINTS // 2
    foot = 7 * width  # where a normal falls below one eigenvalue of 10⁹
    wide = np.linspace(low - foot, high + foot, POINTS - half)
    return np.sort(np.concatenate([wide, np.linspace(inner[0] - 2 * width, inner[1] + 2 * width, half)]))


def over_data(found: Findings, n: int) -> Values:
    """λmax of all samples and of parts of them."""
    whole = float(n), float(found.top.values[0]), float(found.resampled.stderr[0])
    rows = [whole, *((part.n, *mean_stderr(part.values)) for part in found.parts)]
    counts, means, errors = np.array(rows).T
    overlaps = [part.overlap for part in found.parts if np.isfinite(part.overlap)]
    return {
        "part_n": ("part", counts),
        "part_converged": (
            "part",
            np.array(
                [bool(found.top.converged[0]), *(part.converged for part in found.parts)], dtype=np.int8
            ),
        ),
        "part_eigenvalue": ("part", means),
        "part_eigenvalue_stderr": ("part", errors),
        "halves_overlap": overlaps[0] if overlaps else np.nan,
    }


def spaces(found: Findings) -> Values:
    """The top eigenspace, and what lies in it."""
    return {
        "eigenvector_sketch": (("place", "eigen"), found.space.numpy()),
        "gradient_energy": found.energies["gradient"],
        "drift_energy": found.energies["drift"],
    }
