"""The top eigenpairs by each method, each at settings that are tried in turn until the residuals are small enough.

A setting is what a user can turn. That the first one that is good enough is known beforehand is granted to all.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import curvlinops
import hessian_eigenthings as he
import numpy as np
import pyhessian
import torch
from hessian_eigenthings.loss_fns import supervised_loss
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from geomlab.curvature.hessian import Hessian
from geomlab.devices import GIBIBYTE
from geomlab.differentiable import plain_attention
from geomlab.linalg.lanczos import basis_within, eigenpairs
from geomlab.rng import generator
from side_by_side.cases import Case
from side_by_side.meter import Meter

MEMORY = 12 * GIBIBYTE  # that our graphs may take: all of the one batch, as pyhessian keeps it
VECTORS = 12 * GIBIBYTE  # that our Lanczos vectors may take: beside the graphs of ViT-B/32 they fit 24 GiB
ARPACK_ENTRIES = 2**31 - 1  # of all vectors together: it counts in 32 bits, and crashes beyond

Found = tuple[Tensor, Tensor]  # values (k,) and vectors (dim, k)


@contextmanager
def fair() -> Iterator[None]:
    """Attention by plain products, without which the peers fail; and a seed for those that draw from the global one."""
    with torch.random.fork_rng(), plain_attention():
        torch.manual_seed(0)
        yield


class _Counted(Hessian):
    """Counts products: each is a column of `matmat`."""

    meter: Meter | None = None

    def matmat(self, vectors: Tensor) -> Tensor:
        if self.meter is not None:
            self.meter.count(vectors.shape[1])
        return super().matmat(vectors)


def our_operator(case: Case, meter: Meter | None = None, **options: Any) -> Hessian:
    operator = _Counted(case.subject, case.batches, case.names, **{"memory": MEMORY, **options})
    operator.meter = meter
    return operator


class _Curvlinops(curvlinops.HessianLinearOperator):
    """Counts products, and takes columns one at a time: together they take as long, and memory times columns."""

    meter: Meter | None = None

    def _matmat(self, M: list[Tensor]) -> list[Tensor]:
        columns = []
        for j in range(M[0].shape[-1]):
            if self.meter is not None:
                self.meter.count()
            columns.append(super()._matmat([piece[..., j : j + 1] for piece in M]))
        return [torch.cat(pieces, dim=-1) for pieces in zip(*columns, strict=True)]


def curvlinops_operator(case: Case, meter: Meter | None = None) -> _Curvlinops:
    module = case.module()
    operator = _Curvlinops(
        module,
        nn.CrossEntropyLoss(),
        list(module.parameters()),
        [case.data()],
        check_deterministic=False,
        num_data=len(case.batches),
    )
    operator.meter = meter
    return operator


def eigenthings_operator(case: Case, meter: Meter | None = None) -> he.HessianOperator:
    operator = he.HessianOperator(case.module(), [case.data()], supervised_loss(nn.CrossEntropyLoss()))
    if meter is not None:
        operator.matvec = meter.counted(operator.matvec)  # type: ignore[method-assign]
    return operator


@contextmanager
def pyhessian_operator(case: Case, meter: Meter) -> Iterator[pyhessian.hessian]:
    """Of one batch: it keeps the graph of one."""
    module = sys.modules["pyhessian.hessian"]
    with patch.object(module, "hessian_vector_product", meter.counted(module.hessian_vector_product)):
        operator = pyhessian.hessian(
            case.module(), nn.CrossEntropyLoss(), data=case.data(), cuda=case.subject.device.type == "cuda"
        )
        yield operator
        operator.model.zero_grad()  # its gradients and their graph hold each other


def ours(case: Case, k: int, setting: dict[str, Any], meter: Meter) -> Found:
    operator = our_operator(case, meter)
    fits = basis_within(VECTORS, operator, k)
    top, _ = eigenpairs(operator, k, generator(0, "lanczos"), max_basis=fits, **setting)
    return top.values, top.vectors


def by_pyhessian(case: Case, k: int, setting: dict[str, Any], meter: Meter) -> Found:
    with pyhessian_operator(case, meter) as operator:
        values, vectors = operator.eigenvalues(top_n=k, **setting)
    flat = [torch.cat([piece.reshape(-1) for piece in vector]) for vector in vectors]
    return torch.tensor(values, dtype=torch.float64), torch.stack(flat, dim=1)


def by_eigsh(case: Case, k: int, setting: dict[str, Any], meter: Meter) -> Found:
    operator = curvlinops_operator(case, meter).to_scipy(np.float32)
    start = np.random.default_rng(0).standard_normal(case.dim).astype(np.float32)
    values, vectors = eigsh(operator, k=k, which="LA", v0=start, **setting)
    order = np.argsort(values)[::-1].copy()
    return torch.from_numpy(values[order]).double(), torch.from_numpy(vectors[:, order])


def by_eigenthings(case: Case, k: int, setting: dict[str, Any], meter: Meter) -> Found:
    operator = eigenthings_operator(case, meter)
    found = he.lanczos(operator, k=k, which="LA", reorthogonalize=True, seed=0, **setting)
    return found.eigenvalues.double().cpu(), found.eigenvectors.T


Solver = Callable[[Case, int, dict[str, Any], Meter], Found]
SOLVERS: dict[str, Solver] = {
    "geomlab": ours,
    "geomlab, no search": ours,  # for hidden eigenvalues, which the others do not look for either
    "pyhessian": by_pyhessian,
    "curvlinops": by_eigsh,
    "eigenthings": by_eigenthings,
}


def settings(method: str, k: int, tolerance: float, dim: int) -> list[dict[str, Any]]:
    """What is tried, cheapest first."""
    if method == "pyhessian":
        return [{"tol": tol, "maxIter": 1000} for tol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)]
    if method == "curvlinops":
        most = ARPACK_ENTRIES // dim
        sizes = dict.fromkeys(min(ncv, most) for ncv in (2 * k + 10, 4 * k + 10))
        return [{"tol": tolerance / by, "ncv": ncv} for by in (1, 10) for ncv in sizes]
    if method == "eigenthings":
        return [{"max_iter": m} for m in range(2 * k + 5, 6 * k + 60, 5 if k == 1 else k)]
    return [{"tolerance": tolerance} | ({"search": 0} if method.endswith("no search") else {})]
