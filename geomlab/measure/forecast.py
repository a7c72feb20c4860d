"""What measures will take, from a few samples, before anything long starts."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import torch
from torch.nn import functional as F

from geomlab import params
from geomlab.curvature.finite_difference import FiniteDifference
from geomlab.curvature.graph_memory import GraphBytes, graph_bytes
from geomlab.curvature.risk_operator import RiskOperator
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE, available_memory
from geomlab.errors import UserError
from geomlab.linalg.lanczos import basis_within
from geomlab.linalg.operator import Operator
from geomlab.measure.base import Measurement
from geomlab.measure.curvature import Curvature
from geomlab.measure.curvature.findings import splits
from geomlab.measure.landscape import Landscape
from geomlab.measure.paths import Paths
from geomlab.measure.sanity import Sanity
from geomlab.risk import sample_losses
from geomlab.subject import Subject

PILOT = 16  # samples that are tried at first; ours
ENOUGH = 0.1  # seconds that the work on them has to take, or twice as many are tried: a GPU is idle under few; ours
LONG = 1.0  # seconds of work that is timed no more than twice; ours
LANCZOS = 4  # products an eigenvalue that Lanczos usually takes (benchmarks/results/curvature.json: 35 for ten); ours
ENDS = 4  # vectors beside the basis of Lanczos: an image and what it leaves, two of them in a search
PRODUCT = 12  # forward passes that a product takes as long as where its graph is not kept (the same file)
SPILL = (
    4 / 3
)  # of its memory that curvature may take where a product works, before batches are made smaller: ours
SHARPNESS = 6  # products that take as long as three gradients and thirty forward passes

T = TypeVar("T")


@dataclass(frozen=True)
class Forecast:
    """Of one condition; of checks of an attack, of one of their samples and passes.

    Attributes:
        usual: seconds that it usually takes.
        most: seconds that it takes at most, where no eigenvalue converges.
        memory: bytes at once, those of the weights and images not counted.
        parts: what takes the memory, in bytes.
        once: seconds beside these that are spent once for all conditions.
    """

    usual: float
    most: float
    memory: float
    parts: dict[str, float]
    once: float = 0.0


def forecast(measurement: Measurement, subject: Subject, batches: Batches) -> Forecast:
    """Time and memory of a measure whose cost grows with its settings (of others nothing): see the cases.

    A product and a forward pass of some samples are timed, and taken to be linear in the samples. It is right to about
    a factor of three; other work on the machine is not foreseen.

    Args:
        measurement: what is to be measured.
        subject: the network.
        batches: inputs of the size of any condition's.
    """
    match measurement:
        case Curvature():
            return _of_curvature(measurement, subject, batches)
        case Landscape():
            once, pilot, _ = _tried(batches, lambda some: some, lambda some: sample_losses(subject, some))
            a_pass = once * len(batches) / len(pilot)
            products = PRODUCT * measurement.products
            usual, most = measurement.points + products, measurement.most_points + products
            return Forecast(usual * a_pass, most * a_pass, 0, {})
        case Paths():
            once, pilot, _ = _tried(batches, lambda some: some, lambda some: sample_losses(subject, some))
            a_pass = once * len(batches) / len(pilot)
            shared, each = measurement.passes(len(batches))
            return Forecast(each * a_pass, each * a_pass, 0, {}, shared * a_pass)
        case Sanity():
            once, pilot, _ = _tried(batches, lambda some: some, lambda some: sample_losses(subject, some))
            return Forecast(once / len(pilot), once / len(pilot), 0, {})  # of a sample and a pass
        case _:
            return Forecast(0, 0, 0, {})


def _of_curvature(wanted: Curvature, subject: Subject, batches: Batches) -> Forecast:
    names = params.select(subject.weights, wanted.subspace)
    dim = sum(subject.weights[name].numel() for name in names)
    vector = torch.ones(dim, dtype=subject.dtype, device=subject.device)
    product, pilot, matrix = _tried(
        batches, lambda some: wanted.matrix_of(subject, some, names), lambda matrix: matrix.matvec(vector)
    )
    a_vector = matrix.dim * matrix.dtype.itemsize
    a_batch = min(batches.batch_size, len(batches))
    if isinstance(matrix, RiskOperator):
        count = ceil(len(batches) / a_batch)
        graphs, one = matrix.graph_bytes.of(len(batches), count), matrix.graph_bytes.of(a_batch)
        working = one - matrix.vectors * a_vector  # what a product makes of a graph is about as large
        if graphs > wanted.graphs:  # all but a part are recomputed for each product
            kept = wanted.graphs / graphs
            start = time.perf_counter()
            wanted.matrix_of(subject, pilot, names)
            product += (1 - kept) * (time.perf_counter() - start)
            graphs = wanted.graphs + one
        graphs += working
    else:
        graphs = _of_gradient(subject, pilot).of(a_batch)
    seconds = product * len(batches) / len(pilot)
    usual, most = _products(wanted, len(batches))
    if wanted.eigensolver == "pyhessian":
        usual, most = usual + 11 * wanted.k, most + 101 * wanted.k  # its iterations, and a check of each
    parts = {"graphs": graphs, "vectors": _vectors(wanted, matrix) * a_vector}
    return Forecast(usual * seconds, most * seconds, sum(parts.values()), parts)


def _of_gradient(subject: Subject, batches: Batches) -> GraphBytes:
    """Of the graph of a gradient in all weights."""
    weights = {name: tensor.detach().requires_grad_() for name, tensor in subject.weights.items()}
    return graph_bytes(
        subject, batches, lambda images, labels: F.cross_entropy(subject(images, weights), labels)
    )


def _products(wanted: Curvature, n: int) -> tuple[float, float]:
    """Matrix-vector products that are usual and at most, of n samples."""
    probes, steps = wanted.density
    parts = splits(wanted.parts, n)
    builds = 2 + len(parts)  # of all samples' graphs: for the whole, the jackknife and parts; a product each
    fixed = builds + wanted.probes + 2 * wanted.pairs + probes * steps + wanted.k + SHARPNESS
    lanczos = LANCZOS * wanted.k
    # Halves take as many as the whole, others λmax alone.
    of_parts = lanczos + 10 * (len(parts) - 1) if parts else 0
    return fixed + lanczos + of_parts, fixed + (1 + len(parts)) * wanted.max_products


def _vectors(wanted: Curvature, matrix: Operator) -> int:
    """Vectors that are held at once: of the Krylov space, or where what was found is put together."""
    basis = min(basis_within(wanted.room, matrix, wanted.k), wanted.max_products + 1, matrix.dim)
    own = 4 if isinstance(matrix, FiniteDifference) else 1
    return max(basis + ENDS, 4 * (wanted.k + 1)) + own


def _tried(
    batches: Batches, build: Callable[[Batches], T], work: Callable[[T], object]
) -> tuple[float, Batches, T]:
    """Seconds of work on what is built of a few samples, these, and it; more of them where that is too quick."""
    count = PILOT
    while True:
        pilot = batches.take(torch.arange(min(count, len(batches)), device=batches.labels.device))
        built = build(pilot)
        seconds = _median(lambda built=built: work(built), pilot.labels.device)  # type: ignore[misc]
        if seconds >= ENOUGH or len(pilot) == len(batches):
            return seconds, pilot, built
        del built  # before the next is built
        count *= 2


def _median(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, the median of three times after the first; where both take long the shorter of the first two."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
        if len(times) == 2 and min(times) > LONG:
            return min(times)
    return statistics.median(times[1:])


def too_large(found: Forecast, measurement: Measurement, subject: Subject) -> bool:
    """Whether a measure takes more memory than it should, and smaller batches would mend that."""
    if not isinstance(measurement, Curvature):
        return False
    most = min(available_memory(subject.device), SPILL * measurement.memory)
    return found.memory > most > found.parts["vectors"]


def check_memory(found: Forecast, subject: Subject) -> None:
    """Refuse what does not fit before memory runs out.

    Raises:
        UserError: with what takes it, and what to do.
    """
    there = available_memory(subject.device)
    if found.memory <= there:
        return  # of a measure whose memory is not forecast as well
    graphs, vectors = (found.parts[name] / GIBIBYTE for name in ("graphs", "vectors"))
    advice = (
        "a smaller --memory or --batch-size, or --matrix finite-difference"
        if graphs > vectors
        else "a smaller --memory, --params visual, lora or a regular expression, or --budget quick"
    )
    raise UserError(
        f"curvature of {subject.name} would take about {found.memory / GIBIBYTE:.1f} GiB ({graphs:.1f} of graphs, "
        f"{vectors:.1f} of vectors), and {there / GIBIBYTE:.1f} are free; try {advice}, or leave curvature out of "
        "--measure"
    )
