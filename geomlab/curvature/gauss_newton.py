"""The generalised Gauss-Newton matrix of the mean loss as a matrix-free operator (Schraudolph 2002).

G = Jᵀ·S·J over the samples, with J the Jacobian of the logits and S = diag(p) − ppᵀ the Hessian of cross-entropy in the
logits. It is what the Hessian has of curvature in the loss, without that of the network: positive semidefinite, of rank
at most n·(C − 1), equal to the Hessian where the network is linear in its parameters or the residuals vanish, and for
cross-entropy equal to the Fisher information.

J·v is taken by differentiating u ↦ Jᵀu, which is linear, along v: that needs only what the Hessian needs of the
network's functions, no forward-mode derivatives, which some lack. Its graph is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.curvature.risk_operator import Graph, RiskOperator, pulled
from geomlab.risk import differentiate
from geomlab.typing import Logits, Scalar


@dataclass(frozen=True, eq=False)
class _Linearised(Graph):
    """A batch's logits as a function of the weights, and Jᵀu as one of u.

    Attributes:
        attached: the logits (n, C), attached to the weights.
        cotangent: u (n, C), a leaf.
        transposed: Jᵀu, a tensor a weight, attached to u.
    """

    attached: Tensor
    cotangent: Tensor
    transposed: tuple[Tensor, ...]


class GaussNewton(RiskOperator[_Linearised]):
    """JᵀSJ of the mean cross-entropy; see `RiskOperator`."""

    matrix = "Gauss-Newton product"
    vectors = 2  # its gradient, and Jᵀu
    detached = True

    def _graph(self, weights: tuple[Tensor, ...], loss: Scalar, logits: Logits) -> _Linearised:
        gradient = differentiate(loss, weights, retain_graph=True)
        cotangent = torch.zeros_like(logits, requires_grad=True)
        transposed = differentiate(logits, weights, along=cotangent, create_graph=True)
        return _Linearised(weights, loss.detach(), gradient, logits.detach(), logits, cotangent, transposed)

    def _differentiated(self, graph: _Linearised) -> Sequence[Tensor]:
        return graph.transposed

    def _product(self, graph: _Linearised, pieces: tuple[Tensor, ...], keep: bool) -> Sequence[Tensor] | None:
        pushed = pulled(graph.transposed, pieces, (graph.cotangent,), keep=True)
        if pushed is None:
            return None
        p = graph.logits.softmax(1)
        curved = p * (pushed[0] - (p * pushed[0]).sum(1, keepdim=True)) / len(self._batches)
        return torch.autograd.grad(
            graph.attached, graph.weights, grad_outputs=curved, retain_graph=keep, materialize_grads=True
        )
