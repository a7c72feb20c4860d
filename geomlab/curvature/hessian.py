"""The Hessian of the mean loss as a matrix-free operator.

A product is the second pass of reverse-over-reverse differentiation: ∇(∇L·v). The first pass does not depend on v, so
its graph is kept and only the second is run again, 0.21 s instead of 0.27 s on the embedded network (FACTS.md;
benchmarks/hessian_products.py). What does not fit the memory budget is recomputed for each product.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.linalg.operator import Operator
from geomlab.risk import differentiate, sample_losses
from geomlab.subject import Subject, twice_differentiable
from geomlab.typing import Images, Labels, Vector

GIBIBYTE = 2**30
_PILOT = 4  # samples whose graph is measured to forecast the memory of all


@dataclass(frozen=True, eq=False)
class _Graph:
    """A batch's share of the gradient, still attached to the weights it was taken at."""

    weights: tuple[Tensor, ...]
    gradient: tuple[Tensor, ...]
    loss: Tensor


class Hessian(Operator):
    """∇²L of the mean cross-entropy over all samples, with respect to some of the parameters.

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

    Raises:
        UserError: if the loss is not finite, or two passes over the data do not agree.
    """

    def __init__(
        self, subject: Subject, batches: Batches, names: list[str], *, memory: float = 4 * GIBIBYTE
    ) -> None:
        self._subject, self._batches = subject, batches
        self._weights = {name: subject.weights[name].detach() for name in names}
        self.dim = sum(tensor.numel() for tensor in self._weights.values())
        self.dtype, self.device = subject.dtype, subject.device
        room = int(memory / max(1, self._bytes_per_sample()))
        self._kept: list[_Graph] = []
        self.kept, self.loss = 0, 0.0
        self.gradient = torch.zeros(self.dim, dtype=self.dtype, device=self.device)
        for number, (images, labels) in enumerate(batches):
            graph = self._graph(images, labels)
            self.loss += float(graph.loss.detach())
            self.gradient += torch.cat([piece.detach().reshape(-1) for piece in graph.gradient])
            # A prefix of the batches is kept: `matvec` recomputes the rest in order.
            if len(self._kept) == number and self.kept + len(labels) <= room:
                self._kept.append(graph)
                self.kept += len(labels)
        self._check()

    def matvec(self, vector: Vector) -> Vector:
        """Hessian-vector product (dim,)."""
        pieces = tuple(params.unflatten(vector, self._weights).values())
        total = torch.zeros_like(vector)
        for graph, keep in self._graphs():
            # A gradient that depends on no weight (a linear loss) has no second pass.
            pairs = [(g, v) for g, v in zip(graph.gradient, pieces, strict=True) if g.requires_grad]
            if pairs:
                outputs, weights = zip(*pairs, strict=True)
                second = torch.autograd.grad(
                    outputs, graph.weights, grad_outputs=weights, retain_graph=keep, materialize_grads=True
                )
                total += torch.cat([piece.reshape(-1) for piece in second])
        return total

    def _graphs(self) -> Iterator[tuple[_Graph, bool]]:
        yield from ((graph, True) for graph in self._kept)
        for number, (images, labels) in enumerate(self._batches):
            if number >= len(self._kept):
                yield self._graph(images, labels), False

    def _graph(self, images: Images, labels: Labels) -> _Graph:
        weights = {name: tensor.detach().requires_grad_() for name, tensor in self._weights.items()}
        with twice_differentiable():
            logits = self._subject(images, weights)
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(self._batches)
        leaves = tuple(weights.values())
        return _Graph(leaves, differentiate(loss, leaves, create_graph=True), loss)

    def _bytes_per_sample(self) -> float:
        """Bytes that a kept graph holds for each sample, measured on a few; weights are not counted."""
        own = {tensor.untyped_storage().data_ptr() for tensor in self._weights.values()}
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()

        images, labels = next(iter(self._batches))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self._graph(images[:_PILOT], labels[:_PILOT])
        return sum(seen.values()) / min(_PILOT, len(labels))

    def _check(self) -> None:
        again = float(sample_losses(self._subject, self._batches).loss.double().mean())
        if not torch.isfinite(torch.tensor(self.loss)) or not bool(torch.isfinite(self.gradient).all()):
            raise UserError(
                f"{self._subject.name}: the loss or its gradient is not finite; try --dtype float64"
            )
        if abs(again - self.loss) > 1e-3 * max(abs(self.loss), 1e-3):
            raise UserError(
                f"{self._subject.name}: two passes over the data gave the losses {self.loss:.6g} and {again:.6g}; "
                "the network must be deterministic in eval mode (dropout, sampling or random augmentation inside it?)"
            )
