"""The curvature at the centre of a slice, from the slice itself, and whether the Hessian says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geomlab import params
from geomlab.architectures import reason
from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.devices import out_of_memory
from geomlab.errors import UserError
from geomlab.landscape import second_difference
from geomlab.landscape.numbers import Number, interval, undefined
from geomlab.landscape.slices import Slice
from geomlab.measure.landscape.axes import Axis
from geomlab.stats import Array
from geomlab.subject import Subject

PRODUCT = 1e-3  # relative error granted to dᵀHd: ours
STENCIL = 2 * second_difference.LEVELS + 1  # points along an axis
TIMES = 3  # of the estimated error of differencing, an estimate of size and no bound: ours


def stencil(axis: Axis) -> torch.Tensor:
    """(points,) coordinates in fp64 at which the second difference is taken: −h, h, and 0 last."""
    h = torch.from_numpy(_steps(axis))
    return torch.cat([-h, h, torch.zeros(1, dtype=torch.float64)])


def _steps(axis: Axis) -> Array:
    return second_difference.steps(min(axis.high, -axis.low))


@dataclass(frozen=True)
class Centre:
    """What a slice says of its centre, along each axis, per unit length squared.

    Attributes:
        values: labelled variables (results/FORMAT.md).
        warnings: where the slice and the Hessian disagree, or could not be compared.
    """

    values: dict[str, Any]
    warnings: list[str]

    @classmethod
    def of(
        cls,
        subject: Subject,
        batches: Batches,
        names: list[str],
        axes: Sequence[Axis],
        around: Sequence[Slice],
        *,
        check: bool,
        memory: float,
    ) -> "Centre":
        """Compare the two.

        Args:
            subject: the network.
            batches: inputs of the slice.
            names: parameters that move.
            axes: the directions.
            around: losses at the `stencil` of each.
            check: whether dᵀHd is taken: where inputs move with the weights, the slice has another curvature.
            memory: bytes for kept graphs.
        """
        rounding = torch.finfo(subject.dtype).eps
        differences = [_difference(axis, one, rounding) for axis, one in zip(axes, around, strict=True)]
        numbers = [
            _with_interval(axis, one, found)
            for axis, one, found in zip(axes, around, differences, strict=True)
        ]
        products, refused = [np.nan] * len(axes), ""
        if check:
            products, refused = _by_the_hessian(subject, batches, names, axes, memory)
        errors = [
            found.error / axis.norm**2 if axis.norm else np.nan
            for axis, found in zip(axes, differences, strict=True)
        ]
        values = {
            "curvature": ("axis", np.array([one.value for one in numbers])),
            "curvature_low": ("axis", np.array([one.low for one in numbers])),
            "curvature_high": ("axis", np.array([one.high for one in numbers])),
            "curvature_left_out": (("axis", "group"), np.stack([one.left_out for one in numbers])),
            "curvature_error": ("axis", np.array(errors)),
            "curvature_by_hessian": ("axis", np.array(products)),
        }
        said = [refused] if refused else []
        for number, (one, error, product) in enumerate(zip(numbers, errors, products, strict=True)):
            if abs(one.value - product) > TIMES * error + PRODUCT * abs(product):
                said.append(
                    f"along d{number} the slice curves by {one.value:.4g} ± {error:.1g} at its centre, where "
                    f"dᵀHd/‖d‖² is {product:.4g}: the loss has kinks there, or one of the two is wrong"
                )
        return cls(values, said)


def _difference(axis: Axis, found: Slice, eps: float) -> second_difference.SecondDifference:
    """In steps of the axis."""
    h = _steps(axis)
    rounding = eps * max(1.0, abs(float(found.loss[-1])))
    return second_difference.extrapolated(h, _second(h, found.loss), rounding)


def _second(h: Array, losses: Array) -> Array:
    """(…, levels) of losses (…, points) at a stencil."""
    left, right = losses[..., : len(h)], losses[..., len(h) : -1]
    with np.errstate(invalid="ignore", over="ignore"):
        return second_difference.second_differences(h, left, losses[..., -1:], right)


def _with_interval(axis: Axis, found: Slice, difference: second_difference.SecondDifference) -> Number:
    """Per unit length squared; over samples, with the same weights for each part of them."""
    if not axis.norm or not np.isfinite(difference.value):
        return undefined(len(found.group_n))
    used = difference.weights != 0
    by_part = _second(_steps(axis), found.without_each)[:, used] @ difference.weights[used]
    return interval(difference.value / axis.norm**2, by_part / axis.norm**2)


def _by_the_hessian(
    subject: Subject, batches: Batches, names: list[str], axes: Sequence[Axis], memory: float
) -> tuple[list[float], str]:
    """dᵀHd/‖d‖² along each axis, and why not, where the network refuses a second derivative."""
    try:
        operator = Hessian(subject, batches, names, memory=memory)
        return [_rayleigh(operator, axis) for axis in axes], ""
    except (UserError, RuntimeError) as error:  # torch's, where an operation has no second derivative
        if out_of_memory(error):
            raise
        why = str(error) if isinstance(error, UserError) else reason(error)
        return [np.nan] * len(axes), f"the curvature of the slice is not checked against dᵀHd: {why}"


def _rayleigh(operator: Hessian, axis: Axis) -> float:
    if not axis.norm:
        return float("nan")
    vector = (params.flatten(axis.direction) / axis.norm).to(operator.dtype)
    return float(vector.double() @ operator.matvec(vector).double())
