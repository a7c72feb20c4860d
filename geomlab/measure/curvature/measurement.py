"""The measurement: its settings, and the labelled Dataset of what is found."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from geomlab import params
from geomlab.curvature.anisotropy import QUANTITIES
from geomlab.curvature.finite_difference import of_risk
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.measure.base import Single, dataset
from geomlab.measure.curvature import beside, values, warn
from geomlab.measure.curvature.findings import Effort, Matrix, find
from geomlab.subject import Subject
from geomlab.typing import Vector

MEMORY = 12 * GIBIBYTE  # bytes, by default: ours
GRAPHS = 1 / 3  # of the memory; the rest is for Lanczos vectors
MATRICES: Mapping[str, Callable[[Subject, Batches, list[str], float], Matrix]] = {
    "hessian": lambda subject, batches, names, memory: Hessian(subject, batches, names, memory=memory),
    "gauss-newton": lambda subject, batches, names, memory: GaussNewton(
        subject, batches, names, memory=memory
    ),
    "finite-difference": lambda subject, batches, names, _: of_risk(subject, batches, names),
}
EIGENSOLVERS = ("geomlab", "pyhessian")


@dataclass(frozen=True, eq=False)
class Curvature(Single):
    """Curvature at a point: of the Hessian of the mean loss, or of its Gauss-Newton part.

    Attributes:
        subspace: of the parameters: full, visual, lora or a regular expression.
        k: number of top eigenvalues.
        probes: random vectors for the traces.
        pairs: of random vectors for the layers' blocks.
        density: probes and steps of the spectral density.
        parts: into how many the samples are split, in turn, to see how λmax moves with n; at least 4 samples each.
        matrix: hessian, gauss-newton, or finite-difference: the Hessian by differences of gradients, for networks whose
            graphs do not fit the memory or cannot be differentiated twice.
        eigensolver: geomlab; or pyhessian, which is then asked as well, of the Hessian.
        reference: network at θ₀, of whose θ − θ₀ the share in the top eigenspace is taken; or None.
        tolerance: relative residual at which an eigenpair counts as converged.
        max_products: Lanczos stops there.
        memory: bytes for kept graphs and Lanczos vectors. It changes the time, and numbers within their tolerance;
            where the density's vectors do not fit it has fewer steps, which a warning says.
    """

    subspace: str = "full"
    k: int = 10
    probes: int = 30
    pairs: int = 8
    density: tuple[int, int] = (4, 25)
    parts: tuple[int, ...] = (2, 4, 8)
    matrix: str = "hessian"
    eigensolver: str = "geomlab"
    reference: Subject | None = None
    tolerance: float = 1e-3
    max_products: int = 200
    memory: float = MEMORY

    name = "curvature"
    revision = 8

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key, and the memory."""
        return {name: value for name, value in vars(self).items() if name not in ("reference", "memory")}

    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`."""
        start = time.perf_counter()
        layers = params.by_layer(params.select(subject.weights, self.subspace))
        names = [name for members in layers.values() for name in members]  # a layer's parameters side by side
        sizes = [sum(subject.weights[name].numel() for name in members) for members in layers.values()]

        def build(some: Batches) -> Matrix:
            return self.matrix_of(subject, some, names)

        moved = _displacement(subject, self.reference, names)
        found = find(build, batches, sizes, self._effort(), generator, moved=moved)
        sharpness, said = beside.sharp(subject, batches, names, generator)
        unequal = values.unequal(found, sizes)
        opinion: dict[str, Any] = {}
        if self.eigensolver == "pyhessian":
            ours, seed = (found.top, found.bottom), generator.initial_seed()
            opinion, differing = beside.second_opinion(
                subject, batches, names, ours, lambda: build(batches), seed=seed
            )
            said += differing
        content = {
            **values.spectrum(found),
            **values.layers(found, sizes),
            **unequal,
            **values.density(found.density),
            **values.over_data(found, len(batches)),
            **values.spaces(found),
            **sharpness,
            **opinion,
            "loss": found.loss,
            "gradient_norm": found.gradient_norm,
            "params": self.subspace,
            "matrix": self.matrix,
            "inputs": found.inputs,
            "dim": found.dim,
            "probes": self.probes,
            "products": found.products,
            "seconds": time.perf_counter() - start,
            "n": len(batches),
        }
        coords = {
            "eigen": np.arange(1, len(found.top.values) + 1),
            "layer": list(layers),
            "quantity": list(QUANTITIES),
            "kind": list(beside.KINDS),
            "part": [1, *(round(len(batches) / part.n) for part in found.parts)],
        }
        undefined = [
            name for name, value in zip(QUANTITIES, unequal["anisotropy"][1], strict=True) if np.isnan(value)
        ]
        said += warn.sentences(
            found.top, found.bottom, found.dim, k=self.k, probes=self.probes, undefined=undefined
        )
        if found.off is not None:
            said.append(
                f"products are differences of gradients, off by up to {found.off[0]:.1g} for a vector of length 1"
                + ("; the loss has kinks, so that more is possible" if found.off[1] else "")
            )
        said += warn.of_few_samples(found, len(batches))
        said += warn.of_few_steps(found, self.density[1])
        if self.reference is not None and moved is None:
            said.append("no share of the drift in the top eigenspace: the reference has other parameters")
        return dataset(content, coords, said)

    def matrix_of(self, subject: Subject, batches: Batches, names: list[str]) -> Matrix:
        """The matrix of some samples, over some parameters."""
        return MATRICES[self.matrix](subject, batches, names, self.graphs)

    @property
    def graphs(self) -> float:
        """Bytes of the memory that are for kept graphs."""
        return GRAPHS * self.memory

    @property
    def room(self) -> float:
        """Bytes of the memory that are for Lanczos vectors."""
        return (1 - GRAPHS) * self.memory

    def _effort(self) -> Effort:
        return Effort(
            self.k,
            self.probes,
            self.pairs,
            self.density,
            self.parts,
            self.tolerance,
            self.max_products,
            self.room,
        )


def _displacement(subject: Subject, reference: Subject | None, names: list[str]) -> Vector | None:
    """θ − θ₀ over some parameters, None where the reference has not all of them."""
    if reference is None:
        return None
    here, there = subject.weights, reference.weights
    if any(name not in there or there[name].shape != here[name].shape for name in names):
        return None
    pieces: list[Tensor] = [(here[name] - there[name]).detach().reshape(-1) for name in names]
    return torch.cat(pieces)
