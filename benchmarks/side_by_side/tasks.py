"""What is compared: eigenpairs to a residual, a trace to 5 %, a density of the same probes and steps, a product."""

import statistics
from collections.abc import Callable
from typing import Any

import curvlinops
import hessian_eigenthings as he
import torch
from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum
from torch import Tensor

from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.linalg.density import spectral_density
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.trace import together, traces
from geomlab.risk import gradient
from geomlab.rng import generator
from side_by_side import solvers
from side_by_side.cases import Case
from side_by_side.meter import Meter, clock, measured, medians

TOLERANCE = 1e-3
ACCURACY = 0.05  # of the trace: standard error over value
PROBES, STEPS = 3, 20  # of the density
AT_LEAST, MORE = 10, 5  # probes before the standard error is believed, and added while it is too large
FLOOR = 1e-6  # of the largest: what float32 can tell of a small eigenvalue

Entry = dict[str, Any]


def top(case: Case, method: str, k: int, limit: float) -> Entry:
    """The first setting whose true residuals are within the tolerance, or the last one there was time for.

    The products of curvlinops go through `jacrev`, whose derivatives of layer norm have in torch 2.14 no right tangent
    with respect to its weights: where its eigenvectors are not those of the Hessian, they are judged by its own.
    """
    left, entry, before = limit, {}, []
    for setting in solvers.settings(method, k, TOLERANCE, case.dim):
        with solvers.fair():
            found, spent = measured(
                lambda meter, setting=setting: solvers.SOLVERS[method](case, k, setting, meter), left
            )
        entry = {"setting": setting, **spent}
        if found is not None:
            values, vectors = found
            bound = torch.clamp(TOLERANCE * values.abs(), min=FLOOR * float(values.abs().max()))
            residuals = residuals_by(solvers.our_operator(case).matvec, case.subject.device, values, vectors)
            entry |= {
                "eigenvalues": values.tolist(),
                "relative_residuals": (residuals / values.abs()).tolist(),
                "reached": bool((residuals <= bound).all()),
            }
            if method == "curvlinops" and not entry["reached"]:  # its Hessian may be another one
                with solvers.fair():
                    theirs = solvers.curvlinops_operator(case)
                    own = residuals_by(theirs.__matmul__, case.subject.device, values, vectors)
                entry["own_relative_residuals"] = (own / values.abs()).tolist()
                entry["reached"] = bool((own <= bound).all())
        left -= spent["seconds"]
        if entry.get("reached") or left <= 0 or spent.get("stopped"):
            break
        before.append({name: value for name, value in entry.items() if name != "eigenvalues"})
    return entry | {"before": before}


def residuals_by(
    product: Callable[[Tensor], Tensor], device: torch.device, values: Tensor, vectors: Tensor
) -> Tensor:
    """‖Hv − λv‖/‖v‖ by a product of each vector."""
    found = []
    for value, vector in zip(values.tolist(), vectors.unbind(1), strict=True):
        v = vector.to(device).contiguous()
        found.append(float((product(v).double() - value * v.double()).norm() / v.double().norm()))
    return torch.tensor(found, dtype=torch.float64)


def trace(case: Case, method: str, limit: float) -> Entry:
    """Until the standard error is 5 % of the value."""
    with solvers.fair():
        result, spent = measured(lambda meter: TRACES[method](case, meter), limit)
    return {**spent, **(result or {})}


def until_accurate(more: Callable[[int], list[float]], entry: Entry | None = None) -> Entry:
    """Samples, some at a time, until their mean is known to 5 %."""
    samples = more(AT_LEAST)
    while error(samples) > ACCURACY * abs(statistics.fmean(samples)):
        samples += more(MORE)
    return (entry or {}) | {
        "trace": statistics.fmean(samples),
        "stderr": error(samples),
        "probes": len(samples),
    }


def error(samples: list[float]) -> float:
    return statistics.stdev(samples) / len(samples) ** 0.5


def _our_trace(case: Case, meter: Meter, *, k: int) -> Entry:
    operator, random, entry = solvers.our_operator(case, meter), generator(0, "trace"), {}
    deflated: dict[str, Tensor] = {}
    if k:
        start = meter.start
        top, bottom = eigenpairs(operator, k, random, tolerance=TOLERANCE)
        deflated = dict(zip(("vectors", "images"), together(top, bottom), strict=True))
        entry = {"eigenpairs_seconds": clock() - start, "eigenpairs_products": meter.products}
    return until_accurate(
        lambda count: traces(operator, random, probes=count, **deflated).trace.samples.tolist(), entry
    )


def _pyhessian_trace(case: Case, meter: Meter) -> Entry:
    with solvers.pyhessian_operator(case, meter) as operator:
        return until_accurate(lambda count: operator.trace(maxIter=count, tol=0))


def _curvlinops_trace(case: Case, meter: Meter) -> Entry:
    operator = solvers.curvlinops_operator(case, meter)
    return until_accurate(
        lambda count: [float(curvlinops.hutchinson_trace(operator, 1)) for _ in range(count)]
    )


def _xtrace(case: Case, meter: Meter) -> Entry:
    """It gives no error: mean and standard error of runs of 10 products each, which are independent."""
    operator = solvers.curvlinops_operator(case, meter)
    return until_accurate(lambda count: [float(curvlinops.xtrace(operator, 10)) for _ in range(count // 2)])


def _hutch_plus_plus(case: Case, meter: Meter) -> Entry:
    """The smallest budget tried at which it says 5 %: time and products of that run alone."""
    operator, count = solvers.eigenthings_operator(case, meter), 30
    while True:
        start, before = clock(), meter.products
        found = he.trace(operator, num_matvecs=count, seed=0)
        if found.stderr <= ACCURACY * abs(found.estimate):
            break
        count += count // 2
    return {
        "trace": found.estimate,
        "stderr": found.stderr,
        "seconds": clock() - start,
        "products": meter.products - before,
    }


TRACES: dict[str, Callable[[Case, Meter], Entry]] = {
    "geomlab": lambda case, meter: _our_trace(case, meter, k=10),
    "geomlab, no deflation": lambda case, meter: _our_trace(case, meter, k=0),
    "pyhessian": _pyhessian_trace,
    "curvlinops": _curvlinops_trace,
    "curvlinops, xtrace": _xtrace,
    "eigenthings": _hutch_plus_plus,
}


def density(case: Case, method: str, limit: float) -> Entry:
    """Of the same probes and steps; why not, where a method fails."""
    with solvers.fair():
        try:
            result, spent = measured(lambda meter: DENSITIES[method](case, meter), limit)
        except Exception as failure:
            return {"fails": f"{type(failure).__name__}: {str(failure).splitlines()[0][:160]}"}
    return {"probes": PROBES, "steps": STEPS, **(result or {}), **spent}


def _our_density(case: Case, meter: Meter) -> Entry:
    operator = solvers.our_operator(case, meter)
    low, high = spectral_density(operator, generator(0, "density"), probes=PROBES, steps=STEPS).range
    return {"range": [low, high]}


def _pyhessian_density(case: Case, meter: Meter) -> Entry:
    with solvers.pyhessian_operator(case, meter) as operator:
        operator.density(iter=2, n_v=1)  # it fails at the end: two steps are enough to see that
        operator.density(iter=STEPS, n_v=PROBES)
    return {}


def _curvlinops_density(case: Case, meter: Meter) -> Entry:
    operator = solvers.curvlinops_operator(case, meter)
    grid, _ = lanczos_approximate_spectrum(operator, STEPS, num_repeats=PROBES)
    return {"range": [float(grid[0]), float(grid[-1])], "note": "its bounds come from eigsh first"}


def _eigenthings_density(case: Case, meter: Meter) -> Entry:
    operator = solvers.eigenthings_operator(case, meter)
    found = he.spectral_density(operator, num_runs=PROBES, lanczos_steps=STEPS, seed=0)
    return {"range": [float(found.raw_eigenvalues.min()), float(found.raw_eigenvalues.max())]}


DENSITIES: dict[str, Callable[[Case, Meter], Entry]] = {
    "geomlab": _our_density,
    "pyhessian": _pyhessian_density,
    "curvlinops": _curvlinops_density,
    "eigenthings": _eigenthings_density,
}


def product(case: Case, repeats: int) -> Entry:
    """Seconds of one product by each method, and in gradients."""
    vector = torch.randn(case.dim, generator=generator(0, "vector")).to(case.subject.device)
    with solvers.fair():
        kept = solvers.our_operator(case)
        recomputed = solvers.our_operator(case, memory=0)
        gauss_newton = GaussNewton(case.subject, case.batches, case.names, memory=solvers.MEMORY)
        theirs, his = solvers.curvlinops_operator(case), solvers.eigenthings_operator(case)
        with solvers.pyhessian_operator(case, Meter(float("inf"))) as operator:
            pieces = [
                piece.view_as(p)
                for piece, p in zip(
                    vector.split([p.numel() for p in operator.params]), operator.params, strict=True
                )
            ]
            times = medians(
                {
                    "gradient": lambda: gradient(case.subject, case.batches, case.names),
                    "geomlab, kept graph": lambda: kept.matvec(vector),
                    "geomlab, recomputed graph": lambda: recomputed.matvec(vector),
                    "geomlab, Gauss-Newton": lambda: gauss_newton.matvec(vector),
                    "pyhessian": lambda: torch.autograd.grad(
                        operator.gradsH, operator.params, grad_outputs=pieces, retain_graph=True
                    ),
                    "curvlinops": lambda: theirs @ vector,
                    "eigenthings": lambda: his.matvec(vector),
                },
                repeats,
            )
    return {
        "kept_images": kept.kept,
        "seconds": times,
        "in_gradients": {name: seconds / times["gradient"] for name, seconds in times.items()},
    }
