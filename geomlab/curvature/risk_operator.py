"""Symmetric matrices of second order of the mean loss as matrix-free operators: what they have in common.

What does not depend on the vector, the graph of the first pass, is kept; a product only runs the rest. Graphs that do
not fit the memory budget are recomputed for each product, or once for several vectors that come together (`matmat`).
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import params
from geomlab.curvature.graph_memory import GraphBytes, graph_bytes
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.differentiable import twice_differentiable
from geomlab.errors import UserError
from geomlab.linalg.operator import Operator
from geomlab.risk import HELD_FIXED, check_repeated
from geomlab.subject import Subject
from geomlab.typing import Float, Images, Labels, Logits, Scalar, Vector


@dataclass(frozen=True, eq=False)
class Graph:
    """A batch's share of what a product needs, still attached to the weights it was taken at.

    Attributes:
        weights: leaves.
        loss: sum of the batch's losses over the number of all samples.
        gradient: of `loss` with respect to each weight.
        logits: detached.
    """

    weights: tuple[Tensor, ...]
    loss: Tensor
    gradient: tuple[Tensor, ...]
    logits: Tensor


G = TypeVar("G", bound=Graph)


class RiskOperator(Operator, Generic[G]):
    """A matrix of the mean cross-entropy over all samples, with respect to some of the parameters.

    Batches count by their size, so an uneven last one is weighted right. Parameters the loss does not use have zero
    rows. Attention needs no setting.

    Args:
        subject: the network at the point of interest.
        batches: the inputs.
        names: parameter names; their order is the order of the vectors' entries.
        memory: bytes that kept graphs may take.

    Attributes:
        loss: mean loss at the point.
        gradient: (dim,) its gradient.
        kept: samples whose graphs are kept.
        graph_bytes: that kept graphs take, the gradients that they hold included.
        inputs: "held fixed": adversarial ones as well, at what they were realised at.

    Raises:
        UserError: if the loss is not finite, or the network does not repeat itself (`risk.check_repeated`); or if a
            derivative that it needs goes through a function that is `once_differentiable`. A function whose backward
            hides by other means what it depends on (`detach`, results of its forward pass kept as constants) is not
            seen.
    """

    matrix: ClassVar[str]  # what a network lacks whose functions cannot be differentiated twice
    inputs: ClassVar[str] = HELD_FIXED
    vectors: ClassVar[int]  # of all the parameters, that a kept graph holds
    detached: ClassVar[bool] = False  # whether derivatives are differentiated along cotangents only

    def __init__(
        self, subject: Subject, batches: Batches, names: list[str], *, memory: float = 4 * GIBIBYTE
    ) -> None:
        self._subject, self._batches = subject, batches
        self._weights = {name: subject.weights[name].detach() for name in names}
        self.dim = sum(tensor.numel() for tensor in self._weights.values())
        self.dtype, self.device = subject.dtype, subject.device
        saved = graph_bytes(subject, batches, self._graph_of)
        self.graph_bytes = GraphBytes(
            saved.a_sample, saved.a_batch + self.vectors * self.dim * self.dtype.itemsize
        )
        self._kept: list[G] = []
        self.kept, self.loss = 0, 0.0
        self.gradient = torch.zeros(self.dim, dtype=self.dtype, device=self.device)
        logits: list[Tensor] = []
        for number, (images, labels) in enumerate(batches):
            graph = self._graph_of(images, labels)
            if number == 0 and is_cut(self._differentiated(graph)):
                raise UserError(
                    f"{subject.name}: a torch.autograd.Function in it is once_differentiable, so it has no "
                    f"{self.matrix}; write its backward in differentiable operations, use --matrix finite-difference, "
                    "or leave curvature out of --measure"
                )
            logits.append(graph.logits)
            self.loss += float(graph.loss.detach())
            self.gradient += torch.cat([piece.detach().reshape(-1) for piece in graph.gradient])
            # A prefix of the batches is kept: `matmat` recomputes the rest in order.
            needs = self.graph_bytes.of(self.kept + len(labels), number + 1)
            if len(self._kept) == number and needs <= memory:
                self._kept.append(graph)
                self.kept += len(labels)
            del graph  # before the next is built
        self._check(torch.cat(logits))

    @abstractmethod
    def _graph(self, weights: tuple[Tensor, ...], loss: Scalar, logits: Logits) -> G:
        """The graph of a batch from its loss and logits."""

    @abstractmethod
    def _differentiated(self, graph: G) -> Sequence[Tensor]:
        """What of a graph a product differentiates."""

    @abstractmethod
    def _product(self, graph: G, pieces: tuple[Tensor, ...], keep: bool) -> Sequence[Tensor] | None:
        """A batch's share of the product, a tensor a weight, or None for zero; the graph is used up unless kept."""

    def matvec(self, vector: Vector) -> Vector:
        """The product with a vector (dim,).

        Raises:
            UserError: if it is not finite.
        """
        return self.matmat(vector[:, None])[:, 0]

    def matmat(self, vectors: Float[Tensor, "dim k"]) -> Float[Tensor, "dim k"]:
        """The products with the columns of (dim, k); a graph that is not kept is recomputed once for all of them.

        Memory: 2k·dim numbers, of a contiguous copy (none of a single column or of a transposed row-major matrix) and
        the result.

        Raises:
            UserError: if one is not finite.
        """
        rows = vectors.T.contiguous()
        totals = torch.empty_like(rows)
        add = False
        for graph, keep in self._graphs():
            for number, (row, total) in enumerate(zip(rows, totals, strict=True), start=1):
                pieces = tuple(params.unflatten(row, self._weights).values())
                self._put(self._product(graph, pieces, keep or number < len(rows)), total, add=add)
            add = True
            del graph  # before the next is built
        # What is not finite is not in the sum either, which takes a tenth of the time.
        if not bool(totals.sum().isfinite()) and not bool(totals.isfinite().all()):
            raise UserError(
                f"{self._subject.name}: a second derivative of the loss is NaN or infinite though the loss is finite; "
                "try --dtype float64, or leave curvature out of --measure"
            )
        return totals.T

    def _put(self, share: Sequence[Tensor] | None, total: Vector, *, add: bool) -> None:
        """Write a batch's share of a product, or add it to what others have."""
        if share is None:
            if not add:
                total.zero_()
            return
        for place, piece in zip(params.unflatten(total, self._weights).values(), share, strict=True):
            if add:
                place += piece
            else:
                place.copy_(piece)

    def _graphs(self) -> Iterator[tuple[G, bool]]:
        yield from ((graph, True) for graph in self._kept)
        for number, (images, labels) in enumerate(self._batches):
            if number >= len(self._kept):
                yield self._graph_of(images, labels), False

    def _graph_of(self, images: Images, labels: Labels) -> G:
        weights = {name: tensor.detach().requires_grad_() for name, tensor in self._weights.items()}
        with twice_differentiable(detached=self.detached):
            logits = self._batches.among(self._subject(images, weights))
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(self._batches)
        return self._graph(tuple(weights.values()), loss, logits)

    @torch.no_grad()
    def _check(self, first: Logits) -> None:
        if not isfinite(self.loss) or not bool(torch.isfinite(self.gradient).all()):
            raise UserError(
                f"{self._subject.name}: the loss or its gradient is not finite; try --dtype float64"
            )
        with twice_differentiable():
            again = torch.cat([self._batches.among(self._subject(images)) for images, _ in self._batches])
        check_repeated(first, again, self._subject)


def pulled(
    outputs: Sequence[Tensor], along: Sequence[Tensor], inputs: tuple[Tensor, ...], *, keep: bool
) -> tuple[Tensor, ...] | None:
    """Σ ⟨output, along⟩ differentiated with respect to the inputs, or None where no output depends on them.

    Args:
        outputs: derivatives that are still attached; some may depend on nothing, as the gradient of a linear loss.
        along: a tensor of its shape for each.
        inputs: leaves.
        keep: whether the graph serves again.
    """
    pairs = [(output, v) for output, v in zip(outputs, along, strict=True) if output.requires_grad]
    if not pairs:
        return None
    attached, vectors = zip(*pairs, strict=True)
    return torch.autograd.grad(
        attached, inputs, grad_outputs=vectors, retain_graph=keep, materialize_grads=True
    )


def is_cut(derivatives: Sequence[Tensor]) -> bool:
    """Whether a graph goes through a function that torch's `once_differentiable` has cut.

    Its results are made outputs of an `Error` node that would raise. But that node leads to none of the weights, so
    `autograd.grad`, which runs only what leads to its inputs, leaves it out and gives a wrong derivative.
    """
    waiting = [piece.grad_fn for piece in derivatives]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if node.name().rpartition("::")[2] == "Error":
            return True
        new = {following for following, _ in node.next_functions} - seen
        seen |= new
        waiting += new
    return False
