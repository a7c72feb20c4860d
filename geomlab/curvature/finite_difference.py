"""The Hessian by central differences of the gradient: for networks too large, or kernels too fused, for a second pass.

Hv ≈ ‖v‖·(g(θ + εu) − g(θ − εu))/(2ε), u = v/‖v‖, is two gradients and needs nothing of the network but those. Two
errors oppose each other. Each gradient is off by about `noise`, the effect of rounding, which weighs noise/ε. And along
the line g(θ + tu) = Σ aᵢtⁱ with a₁ = Hu, so the difference holds a₃ε² beside a₁.

a₃ would take more gradients, a₂ takes none: g(θ + εu) + g(θ − εu) − 2g(θ) = 2ε·s, s = a₂ε. Were the series geometric,
a₃ε² would be ‖s‖²/‖a₁‖; of the smooth networks of tests/curvature/test_finite_difference.py, along random vectors and
along eigenvectors at both ends of the spectrum, it is 0.2 to 7 times that. Both errors follow from what has been
computed, and the step that balances them with them. It differs by orders of magnitude between vectors: one fit for
random vectors is far too long along the top eigenvectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import hypot, isfinite

import torch

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.linalg import rows
from geomlab.linalg.operator import Operator
from geomlab.risk import HELD_FIXED, NOT_REPEATED, value_and_gradient
from geomlab.rng import generator
from geomlab.subject import Subject
from geomlab.typing import Params, Vector

Gradient = Callable[[Params], tuple[float, Vector]]
"""Weights -> a loss and its gradient (dim,) with respect to them, in their order."""

RETRIES = 3  # other steps that are tried for a vector at most: ours
PROOFS = 3  # products that are taken with two steps at least, before one is enough: ours
# The estimate's constants: about the largest that was seen of each error over its measure (this module's docstring; for
# rounding, over the noise of a change of all weights in their last bit).
_TRUNCATION, _ROUNDING = 5.0, 1.5
_PEER = 5.0  # estimates that differ by less are about as good: half the step quarters one part and doubles the other
_KINKED = 3.0  # errors beyond so many times the estimate are not those of a smooth function
# A step that is off the ideal by less is good enough: its error is at most 6 times the least.
_SHORTER, _LONGER = 3.0, 4.0
_REACH = 0.1  # of ‖θ‖, the longest step


@dataclass(frozen=True, eq=False)
class Product:
    """A product and how good it is.

    Attributes:
        image: (dim,) about Hv.
        error: estimate of ‖image − Hv‖.
        step: length of the step in parameter space that it was taken with.
        gradients: spent on it.
    """

    image: Vector
    error: float
    step: float
    gradients: int


class FiniteDifference(Operator):
    """The derivative of a gradient at a point, as a symmetric operator up to `Product.error`.

    Two gradients a product, and two for each other step that is tried: at first, at other kinds of vectors, and at
    kinks (of the transformer below most products took six or eight). The step of a product is where the next one
    begins, so a product repeats to within its error and not to the last bit.

    A network with kinks, as ReLU has, leaves the series: a difference counts the kinks within its step, which second
    derivatives leave out. Where they lie on one side s is large, and the step shrinks. Where they lie on both sides
    alike it is not; so the first products are taken with two steps that must agree, and once an error was beyond its
    estimate, `kinks` is set and all later ones are too; what two steps disagree by counts as error. Of a small
    transformer with ReLU at 12 points in fp32, 7 % of the products were yet off by more than 1.5 times the estimate,
    5 %, all at one point of very large weights, by up to a thousand times; in fp64, where steps are short, 1 % by 1.5
    times. Of many samples the kinks are so many that no step avoids them; see `step`.

    What no estimate here sees: a smooth loss that is even along the vector, so that s = 0.

    Args:
        gradient: of any loss; it must repeat itself.
        centre: the weights of the point, by name, in the order of the vectors' entries.
        step: length of the step, the same for all vectors; None adapts it to each. With kinks, or an attack that is
            recomputed (`geomlab.curvature.robust`), curvature depends on it.
        whole: all the network's weights; None takes `centre`. A step is at most a tenth of their length, and rounding
            is that of their size: some of them may be small beside what the network changes over.
        name: of the network, for messages.
        inputs: what becomes of the inputs where the weights move: "held fixed" or "recomputed at each point".

    Attributes:
        inputs: as given.
        loss: at the point.
        gradient: (dim,) its gradient.
        noise: ‖Δg‖ where all weights change in their last bit, small ones in that of a typical weight.
        kinks: whether steps of different length have disagreed beyond their estimates.
        gradients: spent so far, with four for the above.
        largest_error: of all products so far, for a vector of length 1.

    Raises:
        UserError: if the loss or its gradient is not finite, or two gradients at the point differ by more than √eps of
            their length: rounding in the same kernels stays far below, dropout of a hundredth far above.
    """

    def __init__(
        self,
        gradient: Gradient,
        centre: Params,
        *,
        step: float | None = None,
        whole: Params | None = None,
        name: str = "network",
        inputs: str = HELD_FIXED,
    ) -> None:
        self.inputs = inputs
        self._gradient, self._like, self._name = gradient, dict(centre), name
        self._centre = params.flatten(centre).detach()
        self.dim, self.dtype, self.device = len(self._centre), self._centre.dtype, self._centre.device
        self._eps = torch.finfo(self.dtype).eps
        self.gradients, self.largest_error, self.kinks = 0, 0.0, False
        self.loss, self.gradient = self._at(self._centre, "at the point")
        repeated = self._repeated()
        # The same change each time: an operator has no randomness of its own.
        signs = torch.randint(0, 2, (self.dim,), generator=generator(0, "last bit")) * 2 - 1
        size, typical = _sizes(whole or centre)
        last_bits = self._centre.abs().clamp(min=typical) * self._eps * signs.to(self._centre)
        moved = [self._at(self._centre + bits, "at the point")[1] for bits in (last_bits, -last_bits)]
        self.noise = max(repeated, *(rows.norm(gradient - self.gradient) for gradient in moved))
        self._longest = _REACH * size
        self._adapts, self._agreed = step is None, 0
        # Errors of first and third order balance at about eps^(1/3) where the series has the scale of θ.
        self._step = self._eps ** (1 / 3) * size if step is None else step

    def matvec(self, vector: Vector) -> Vector:
        """About the product with a vector (dim,); as `product`."""
        return self.product(vector).image

    def product(self, vector: Vector) -> Product:
        """The product with a vector (dim,), with its error.

        Raises:
            UserError: if a gradient at a step from the point is not finite.
        """
        length = rows.norm(vector)
        if length == 0:
            return Product(torch.zeros_like(vector), 0.0, self._step, 0)
        before, unit = self.gradients, vector / length
        tries = [self._try(unit, self._step)]
        for _ in range(RETRIES if self._adapts else 0):
            last = tries[-1]
            fits = last.step / _SHORTER <= last.ideal <= last.step * _LONGER
            if fits and ((self._agreed >= PROOFS and not self.kinks) or _settled(tries)):
                break
            tries.append(self._try(unit, last.step / 2 if fits else last.ideal))
        errors = _errors(tries)
        which = errors.index(min(errors))
        best, error = tries[which], errors[which]
        if self._adapts:
            self._step = best.ideal
        self._agreed += _settled(tries)
        self.kinks |= error > _KINKED * best.error
        self.largest_error = max(self.largest_error, error)
        return Product(best.slope * length, error * length, best.step, self.gradients - before)

    def _try(self, unit: Vector, step: float) -> "_Try":
        plus = self._at(self._centre + step * unit, f"{step:.1g} from the point")[1]
        minus = self._at(self._centre - step * unit, f"{step:.1g} from the point")[1]
        slope = (plus - minus) / (2 * step)
        bend = rows.norm((plus - self.gradient) + (minus - self.gradient)) / (2 * step)
        # No rounding is below half a last bit of the gradients, where the noise at the point itself may be none.
        off = max(self.noise, self._eps / 2 * max(rows.norm(plus), rows.norm(minus))) / step
        # Three gradients' noise, √(1 + 1 + 4)/2 of it, is in the bend as well.
        squared = max(bend**2 - 1.5 * off**2, 0.0)
        truncation = _TRUNCATION * squared / max(rows.norm(slope), bend) if squared else 0.0
        rounding = _ROUNDING * off
        # d/dε of cε² + r/ε is zero where the first is half of the second.
        ideal = step * (rounding / (2 * truncation)) ** (1 / 3) if truncation else torch.inf
        ideal = min(max(ideal, step / 100), 10 * step, max(self._longest, step / 10))
        return _Try(slope, truncation + rounding, step, ideal)

    def _at(self, weights: Vector, where: str) -> tuple[float, Vector]:
        self.gradients += 1
        loss, gradient = self._gradient(params.unflatten(weights, self._like))
        if not isfinite(loss) or not bool(torch.isfinite(gradient).all()):
            raise UserError(
                f"{self._name}: the loss or its gradient is not finite {where}; try --dtype float64"
            )
        return loss, gradient

    def _repeated(self) -> float:
        """How far a second gradient at the point is from the first."""
        moved = rows.norm(self._at(self._centre, "at the point")[1] - self.gradient)
        length = rows.norm(self.gradient)
        if moved > self._eps**0.5 * length:
            raise UserError(
                f"{self._name}: two gradients at the same point differ by {moved:.2g}, of a length of {length:.2g}; "
                f"{NOT_REPEATED}"
            )
        return moved


@dataclass(frozen=True, eq=False)
class _Try:
    """A difference with one step along a unit vector.

    Attributes:
        slope: (dim,) the difference.
        error: estimate of its error, of a smooth function.
        step: its length.
        ideal: the length that would have balanced the errors, as far as one step tells.
    """

    slope: Vector
    error: float
    step: float
    ideal: float


def _errors(tries: list[_Try]) -> list[float]:
    """Of each try the estimate, or what it is off another that is about as good, less that one's estimate, if more."""
    found = []
    for one in tries:
        others = [other for other in tries if other is not one]
        peers = [other for other in others if other.error <= _PEER * one.error] or others
        off = min((rows.norm(one.slope - peer.slope) - peer.error for peer in peers), default=0.0)
        found.append(max(one.error, off))
    return found


def _settled(tries: list[_Try]) -> bool:
    """Whether two tries that are about as good agree within their errors."""
    return any(
        max(one.error, other.error) <= _PEER * min(one.error, other.error)
        and rows.norm(one.slope - other.slope) <= _KINKED * (one.error + other.error)
        for one, other in combinations(tries, 2)
    )


def _sizes(weights: Params) -> tuple[float, float]:
    """‖θ‖, 1 where it is 0, and what an entry has of it in the mean of squares."""
    length = hypot(*(rows.norm(tensor.reshape(-1)) for tensor in weights.values())) or 1.0
    return length, length / sum(tensor.numel() for tensor in weights.values()) ** 0.5


def of_risk(
    subject: Subject, batches: Batches, names: list[str], *, step: float | None = None
) -> FiniteDifference:
    """About the Hessian of the mean cross-entropy, the inputs held fixed; attention by any kernel.

    Args:
        subject: the network at the point of interest.
        batches: the inputs.
        names: parameter names; their order is the order of the vectors' entries.
        step: as for `FiniteDifference`.
    """

    def gradient(weights: Params) -> tuple[float, Vector]:
        loss, pieces = value_and_gradient(subject, batches, weights)
        return loss, params.flatten(pieces)

    centre = {name: subject.weights[name] for name in names}
    return FiniteDifference(gradient, centre, step=step, whole=subject.weights, name=subject.name)
