"""Top eigenvalues, trace, Frobenius norm, per-layer traces and anisotropy of the Hessian of the mean loss."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab import params
from geomlab.curvature.anisotropy import QUANTITIES, anisotropy
from geomlab.curvature.hessian import Hessian
from geomlab.curvature.risk_operator import GIBIBYTE
from geomlab.data.batches import Batches
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.lanczos import eigenpairs, least_basis
from geomlab.linalg.trace import Traces, together, traces
from geomlab.measure.base import Measurement, dataset
from geomlab.subject import Subject

BASIS_MEMORY = 8 * GIBIBYTE  # bytes of the Lanczos basis and its images before it is restarted: ours


@dataclass(frozen=True)
class Curvature(Measurement):
    """Curvature at a point.

    Attributes:
        subspace: of the parameters: full, visual, lora or a regular expression.
        k: number of top eigenvalues.
        probes: random vectors for the traces.
        tolerance: relative residual at which an eigenpair counts as converged.
        max_products: Lanczos stops there.
    """

    subspace: str = "full"
    k: int = 10
    probes: int = 30
    tolerance: float = 1e-3
    max_products: int = 200

    name = "curvature"
    revision = 3

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes."""
        return asdict(self)

    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`."""
        start = time.perf_counter()
        layers = params.by_layer(params.select(subject.weights, self.subspace))
        names = [name for members in layers.values() for name in members]  # a layer's parameters side by side
        sizes = [sum(subject.weights[name].numel() for name in members) for members in layers.values()]
        hessian = Hessian(subject, batches, names)
        top, bottom = eigenpairs(
            hessian,
            self.k,
            generator,
            tolerance=self.tolerance,
            max_products=self.max_products,
            max_basis=_room(hessian, self.k),
        )
        vectors, images = together(top, bottom)
        top, bottom = top.bare, bottom.bare  # so that the traces hold each vector once
        found = traces(hessian, generator, probes=self.probes, blocks=sizes, vectors=vectors, images=images)
        unequal = _anisotropy(top, found, hessian.dim, np.array(sizes))
        values = {
            **_spectrum(top, bottom),
            **_layers(found, np.array(sizes)),
            **unequal,
            "loss": hessian.loss,
            "gradient_norm": float(hessian.gradient.double().norm()),
            "params": self.subspace,
            "dim": hessian.dim,
            "probes": self.probes,
            "products": top.products + bottom.products + found.products,
            "seconds": time.perf_counter() - start,
            "n": len(batches),
        }
        coords = {
            "eigen": np.arange(1, len(top.values) + 1),
            "layer": list(layers),
            "quantity": list(QUANTITIES),
        }
        lost = [
            name for name, value in zip(QUANTITIES, unequal["anisotropy"][1], strict=True) if np.isnan(value)
        ]
        return dataset(values, coords, _warnings(top, bottom, hessian.dim, self, lost))


def _room(hessian: Hessian, k: int) -> int:
    """Basis vectors that fit the memory beside their images; a few more than are wanted at least."""
    return max(int(BASIS_MEMORY / (2 * hessian.dim * hessian.dtype.itemsize)), least_basis(k))


def _spectrum(top: Eigenpairs, bottom: Eigenpairs) -> dict[str, Any]:
    return {
        "eigenvalue": ("eigen", top.values.numpy()),
        "residual": ("eigen", top.relative_residuals.numpy()),
        "converged": ("eigen", top.converged.numpy().astype(np.int8)),
        "smallest_eigenvalue": float(bottom.values[0]),
        "smallest_residual": float(bottom.relative_residuals[0]),
        "smallest_converged": int(bottom.converged[0]),
        "status": top.status,
    }


def _layers(found: Traces, sizes: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    value = np.array([block.value for block in found.blocks])
    stderr = np.array([block.stderr for block in found.blocks])
    frobenius = max(found.squared_frobenius.value, 0.0) ** 0.5
    return {
        "trace": found.trace.value,
        "trace_stderr": found.trace.stderr,
        "frobenius": frobenius,
        # d sqrt(x) = dx / (2 sqrt(x))
        "frobenius_stderr": found.squared_frobenius.stderr / (2 * frobenius) if frobenius else 0.0,
        "layer_dim": ("layer", sizes),
        "layer_trace": ("layer", value),
        "layer_trace_stderr": ("layer", stderr),
        "layer_kappa": ("layer", value / sizes),
        "layer_kappa_stderr": ("layer", stderr / sizes),
    }


def _anisotropy(
    top: Eigenpairs, found: Traces, dim: int, sizes: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, Any]:
    kappa = torch.stack([block.samples for block in found.blocks], dim=1).numpy() / sizes
    pairs = anisotropy(
        top.values.numpy(),
        top.relative_residuals.numpy(),
        dim,
        found.trace.samples.numpy(),
        found.squared_frobenius.samples.numpy(),
        kappa,
    )
    return {
        "anisotropy": ("quantity", np.array([value for value, _ in pairs.values()])),
        "anisotropy_stderr": ("quantity", np.array([stderr for _, stderr in pairs.values()])),
    }


def _warnings(
    top: Eigenpairs, bottom: Eigenpairs, dim: int, asked: Curvature, undefined: list[str]
) -> list[str]:
    found = []
    if not bool(top.converged.all()):
        worst = float(top.relative_residuals[~top.converged].max())
        found.append(
            f"eigenvalues {top.status} (largest relative residual of those {worst:.1e}); raise the budget"
        )
    elif top.status != "converged":
        found.append(
            "products ended before a search for eigenvalues that the first start cannot see, such as second copies: "
            "there may be larger ones than the last; raise the budget"
        )
    if bottom.status != "converged":
        found.append(
            "the smallest eigenvalue has not converged: λmin is at most what is shown; raise the budget"
        )
    if len(top.values) < asked.k:
        found.append(f"only {len(top.values)} eigenvalues: the subspace has {dim} dimensions")
    if undefined:
        found.append(
            f"{', '.join(undefined)} not defined: an eigenvalue or a trace is not positive, "
            "or the eigenvalue no larger than its residual"
        )
    if asked.probes < 2:
        found.append("a single probe gives no standard errors")
    return found
