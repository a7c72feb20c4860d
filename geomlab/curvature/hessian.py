"""The Hessian of the mean loss as a matrix-free operator.

A product is the second pass of reverse-over-reverse differentiation: ∇(∇L·v). The first pass does not depend on v, so
its graph is kept and only the second is run again (benchmarks/curvature.py: what that saves).
"""

from collections.abc import Sequence

from torch import Tensor

from geomlab.curvature.risk_operator import Graph, RiskOperator, pulled
from geomlab.risk import differentiate
from geomlab.typing import Logits, Scalar


class Hessian(RiskOperator[Graph]):
    """∇²L of the mean cross-entropy; see `RiskOperator`."""

    matrix = "Hessian"
    vectors = 1  # its gradient

    def _graph(self, weights: tuple[Tensor, ...], loss: Scalar, logits: Logits) -> Graph:
        return Graph(weights, loss, differentiate(loss, weights, create_graph=True), logits.detach())

    def _differentiated(self, graph: Graph) -> Sequence[Tensor]:
        return graph.gradient

    def _product(self, graph: Graph, pieces: tuple[Tensor, ...], keep: bool) -> Sequence[Tensor] | None:
        return pulled(graph.gradient, pieces, graph.weights, keep=keep)
