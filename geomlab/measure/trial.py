"""Derivatives that a measure takes of all samples, tried on two of them before anything is computed."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from geomlab import params
from geomlab.architectures import reason
from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.devices import out_of_memory
from geomlab.errors import UserError
from geomlab.linalg.operator import Operator
from geomlab.measure.base import Measurement
from geomlab.measure.curvature import Curvature
from geomlab.measure.features import FeatureGeometry
from geomlab.measure.landscape import Landscape
from geomlab.measure.paths import Paths
from geomlab.risk import value_and_gradient
from geomlab.subject import Subject
from geomlab.typing import Images

_CUT = "take no_grad, inference_mode or detach out of its forward pass"
# torch's warning where a reentrant checkpoint drops the derivatives in the weights that it uses.
_DROPPED = "None of the inputs have requires_grad=True"
# A checkpoint that is not reentrant works by such hooks. It recomputes with the module's own weights in place of those
# that are passed in: that may fail, or give the gradient of another point.
_HOOKED = "hooks on saved tensors, as torch.utils.checkpoint has, do not see the weights that are passed in"


def try_derivatives(measurement: Measurement, subject: Subject, batches: Batches) -> None:
    """Take the gradient of two samples, and a product of second order where the measure needs one.

    Args:
        measurement: what is to be measured.
        subject: the network.
        batches: at least two samples.

    Raises:
        UserError: if the logits depend on weights that torch does not know of, which would pass for a gradient of
            zero, or on none at all; or if a derivative fails.
    """
    if not isinstance(measurement, Curvature | FeatureGeometry | Landscape | Paths):
        return
    order = measurement.derivatives if isinstance(measurement, Landscape | Paths) else 1
    if not order:
        return
    pair = batches.take(torch.arange(2, device=batches.labels.device))
    names = params.select(subject.weights, measurement.subspace)
    trained = isinstance(measurement, Paths)
    leave = "have no path but --path linear" if trained else f"leave {measurement.name} out of --measure"
    with _refused(
        f"{subject.name}: the gradient in its weights failed", f"mend its forward pass, or {leave}"
    ):
        attached = _attached(subject, pair.images)
        if not attached:
            raise UserError(
                f"{subject.name}: the logits have no gradient in any of its weights; {_CUT}, or {leave}"
            )
        cut = _cut(subject, pair.images, [name for name in names if name not in attached])
        if cut:
            raise UserError(
                f"{subject.name}: the logits change with {cut} and have no gradient in it; {_CUT}, or leave it out of "
                "--params"
            )
        value_and_gradient(subject, pair, {name: subject.weights[name] for name in names})
    build: Callable[[], Operator] | None = None
    if isinstance(measurement, Curvature) and measurement.matrix != "finite-difference":
        instead = f"use --matrix finite-difference, which needs gradients alone, or {leave}"
        build = lambda: measurement.matrix_of(subject, pair, names)  # noqa: E731
    elif order == 2:
        instead = "choose another --direction than gradient and eigenvector"
        build = lambda: Hessian(subject, pair, names)  # noqa: E731
    if build:
        with _refused(f"{subject.name}: a second derivative in its weights failed", instead):
            matrix = build()
            matrix.matvec(torch.ones(matrix.dim, dtype=matrix.dtype, device=matrix.device))


def _attached(subject: Subject, images: Images) -> set[str]:
    """The weights that the logits have a gradient in, those that are not measured too."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in subject.weights.items()}
    with warnings.catch_warnings(), torch.autograd.graph.disable_saved_tensors_hooks(_HOOKED):
        warnings.filterwarnings("error", _DROPPED)
        logits = subject(images, leaves)
        if not logits.requires_grad:
            return set()
        found = torch.autograd.grad(logits.sum(), tuple(leaves.values()), allow_unused=True)
    return {name for name, slope in zip(leaves, found, strict=True) if slope is not None}


def _cut(subject: Subject, images: Images, names: list[str]) -> str | None:
    """The first of some weights that the logits change with."""
    with torch.no_grad():
        before = subject(images)

        def changed(some: list[str]) -> bool:
            moved = {name: 2 * subject.weights[name] + 1 for name in some}
            return bool(some) and not torch.equal(subject(images, moved), before)

        return next(name for name in names if changed([name])) if changed(names) else None


@contextmanager
def _refused(what: str, advice: str) -> Iterator[None]:
    """Say in one line what failed, why, and what to do; running out of memory is said elsewhere."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the user's own module may fail in any way
        if out_of_memory(error):
            raise
        if _DROPPED in str(error) or "torch.utils.checkpoint" in str(error):
            advice = "leave torch.utils.checkpoint out of its forward pass in eval mode"
        raise UserError(f"{what}: {reason(error)}; {advice}") from error
