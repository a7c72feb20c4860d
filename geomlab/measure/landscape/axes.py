"""The axes of a slice: what a direction's SPEC means at a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.landscape import directions
from geomlab.landscape.trajectory import Principal, principal
from geomlab.linalg.lanczos import eigenpairs
from geomlab.rng import generator
from geomlab.spec import Spec, integer, number, parse
from geomlab.subject import Subject
from geomlab.typing import Params

KNOWN = (
    "random[:filter|layer|none]",
    "gradient",
    "eigenvector[:1]",
    "eigenvector:bottom",
    "adversarial[:rank=4]",
    "reference",
    "pca[:1]",
    "lora[:rank=4]",
)
ANY = ("length", "params")  # what every direction takes
RADIUS = 0.5  # of a direction as long as the weights: at 1 the step leaves the basin behind; ours
PAST = 1.5  # steps of a direction at whose end something is expected, to see what is beyond; ours
LONGEST = 1e150  # of a step: its square is still a number
RHO = 0.05  # of an adversarial step; ours, as of the perturbed weights of the features
MARGIN = 0.25  # steps beyond the outermost network of a trajectory, to see what is beyond; ours
RISE = (
    1.0  # nats that the quadratic part rises by at one step along a direction with no length of its own; ours
)


@dataclass(frozen=True, eq=False)
class Axis:
    """A direction at a network, and how far a slice goes along it.

    Attributes:
        direction: one step.
        low: the slice begins there, in steps.
        high: and ends there.
        words: what the direction is.
        arrives: whether the reference is at −1.
    """

    direction: Params
    low: float
    high: float
    words: str
    arrives: bool = False

    @cached_property
    def norm(self) -> float:
        """Length of a step in weight space."""
        return directions.norm(self.direction)


@dataclass(frozen=True, eq=False)
class Place:
    """Where directions are made.

    Attributes:
        subject: the network.
        clean: inputs on which gradients and curvature are taken: an axis is the same under all conditions.
        names: parameters that move.
        reference: network at θ₀, or None.
        trajectory: other networks.
        seed: of random directions.
        memory: bytes for kept graphs.
    """

    subject: Subject
    clean: Batches
    names: list[str]
    reference: Subject | None
    trajectory: tuple[Subject, ...]
    seed: int
    memory: float

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters that move."""
        return {name: self.subject.weights[name] for name in self.names}

    def within(self, subspace: str) -> "Place":
        """The same, of some of the parameters that move."""
        return replace(self, names=params.select(self.names, subspace, "params="))

    @cached_property
    def hessian(self) -> Hessian:
        """Of the loss on clean inputs."""
        return Hessian(self.subject, self.clean, self.names, memory=self.memory)

    @cached_property
    def principal(self) -> list[Principal]:
        """The principal directions of the trajectory."""
        if not self.trajectory:
            raise UserError("direction 'pca': there are no other networks; give --trajectory")
        self.check_alike(self.trajectory)
        return principal(self.weights, [other.weights for other in self.trajectory])

    def check_alike(self, others: Sequence[Subject]) -> None:
        """Look whether other networks have the parameters that move.

        Raises:
            UserError: naming the first that one lacks.
        """
        for other in others:
            lost = params.lacking(self.weights, other.weights)
            if lost:
                raise UserError(f"directions of the slices: {other.name} has no {lost[0]} of that shape")


Make = Callable[[Place, int], Axis]


def parsed(text: str) -> Make:
    """What makes the axis of a SPEC at a place, as its axis of that number.

    Raises:
        UserError: if there is no such direction.
    """
    spec = parse(text)
    match spec.head:
        case "random":
            spec.only(*ANY)
            kind = spec.positional or "filter"
            if kind not in directions.NORMALISATIONS:
                raise UserError(f"'{text}': expected random:{'|'.join(directions.NORMALISATIONS)}")
            make: Make = partial(_random, kind)
        case "gradient":
            spec.only(*ANY)
            make = _gradient
        case "eigenvector":
            spec.only(*ANY)
            make = partial(_eigenvector, _which(spec))
        case "adversarial":
            spec.only(*ANY, "rank")
            make = partial(_adversarial, _rank(spec))
        case "reference":
            spec.only(*ANY)
            make = _reference
        case "pca":
            spec.only(*ANY)
            make = partial(_principal, _which(spec))
        case "lora":
            spec.only(*ANY, "rank")
            make = partial(_lora, _rank(spec))
        case _:
            raise UserError(
                f"no direction '{text}'; there are {', '.join(KNOWN)}, each with length=…, params=…"
            )
    if spec.positional and spec.head not in ("random", "eigenvector", "pca"):
        raise UserError(f"'{text}': {spec.head} takes no '{spec.positional}'; there are {', '.join(KNOWN)}")
    length = number(spec, "length", 0.0)
    if spec.option("length") is not None and not length:
        raise UserError(f"'{text}': length, of one step in weight space, must be above 0")
    subspace = spec.option("params")
    return lambda place, axis: _said(_of_length(_inside(make, subspace, place, axis), text, length))


def _said(axis: Axis) -> Axis:
    """With words on where the reference is."""
    more = "; the reference is at −1; WiSE-FT's α = 1 + step" if axis.arrives else ""
    return replace(axis, words=axis.words + more)


def _rank(spec: Spec) -> int | None:
    return None if spec.option("rank") is None else integer(spec, "rank", 1)


def _inside(make: Make, subspace: str | None, place: Place, axis: int) -> Axis:
    """An axis that moves some of the parameters only; all of them where `subspace` is None."""
    if subspace is None:
        return make(place, axis)
    made = make(place.within(subspace), axis)
    still = {name: weight.new_zeros(()).expand_as(weight) for name, weight in place.weights.items()}
    whole = made.direction.keys() == still.keys()
    return replace(
        made,
        direction=still | dict(made.direction),
        words=f"{made.words}, in {subspace}",
        arrives=made.arrives and whole,
    )


def _which(spec: Spec) -> int:
    """Number of an eigenvector or principal direction from the top, 1 the largest; 0 the bottom eigenvector."""
    text = spec.positional or "1"
    if text == "bottom" and spec.head == "eigenvector":
        return 0
    if not text.isdigit() or not 1 <= int(text) <= 100:
        last = "… or :bottom" if spec.head == "eigenvector" else "…"
        raise UserError(f"'{spec.text}': expected {spec.head}:1 (the largest), :2, {last}")
    return int(text)


def _of_length(axis: Axis, text: str, length: float) -> Axis:
    """With the length asked for, where one is."""
    factor = length / axis.norm if length and axis.norm else 1.0
    overflows = any(
        factor * float(tensor.abs().max()) > torch.finfo(tensor.dtype).max
        for tensor in axis.direction.values()
    )
    if overflows or factor * axis.norm > LONGEST:
        raise UserError(
            f"'{text}': a step of {factor * axis.norm:.1g} is too long for numbers; give a shorter length"
        )
    arrives = axis.arrives and not length
    return replace(axis, direction=directions.scaled(axis.direction, factor), arrives=arrives)


def _random(kind: str, place: Place, axis: int) -> Axis:
    noise = generator(place.seed, "direction", axis)
    direction = directions.gaussian(place.weights, noise, kind)
    words = "random, not normalised" if kind == "none" else f"random, {kind}-normalised"
    return Axis(direction, -RADIUS, RADIUS, words)


def _gradient(place: Place, axis: int) -> Axis:
    slope = params.unflatten(place.hessian.gradient, place.weights)
    length = directions.norm(slope)
    unit = directions.scaled(slope, 1 / length if length else 0.0)
    vector = params.flatten(unit)
    curvature = float(vector.double() @ place.hessian.matvec(vector).double())
    return Axis(_rising(unit, curvature, place), -PAST, PAST, "gradient on clean inputs")


def _eigenvector(which: int, place: Place, axis: int) -> Axis:
    """By Lanczos on clean inputs, to the tolerance of its defaults; its sign is that of the gradient along it."""
    operator = place.hessian
    random = generator(place.seed, "eigenvector")
    top, bottom = eigenpairs(operator, max(which, 1), random, both=which == 0)
    pairs, at = (bottom, 0) if which == 0 else (top, which - 1)
    if at >= len(pairs.values):
        raise UserError(f"eigenvector:{which}: the subspace has {len(pairs.values)} dimensions only")
    vector, value = pairs.vectors[:, at], float(pairs.values[at])
    sign = -1.0 if float(vector.double() @ operator.gradient.double()) < 0 else 1.0
    unit = params.unflatten(sign * vector, place.weights)
    name = "bottom eigenvector" if which == 0 else f"eigenvector {which} from the top"
    words = f"{name} of the Hessian on clean inputs, λ = {value:.3g}"
    words += "" if bool(pairs.converged[at]) else ", not converged"
    return Axis(_rising(unit, value, place), -PAST, PAST, words)


def _rising(unit: Params, curvature: float, place: Place) -> dict[str, Tensor]:
    """So long that ½|curvature|·length² is `RISE`, and at most as long as the weights."""
    longest = directions.norm(place.weights) or 1.0
    length = (2 * RISE / abs(curvature)) ** 0.5 if curvature else longest
    return directions.scaled(unit, min(length, longest))


def _adversarial(rank: int | None, place: Place, axis: int) -> Axis:
    step = directions.adversarial(place.subject, place.clean, place.names, rho=RHO, rank=rank)
    kind = "adversarial weight perturbation" + (f" of rank {rank}" if rank else "")
    return Axis(step, -PAST, PAST, f"{kind} on clean inputs, ρ = {RHO:g}")


def _reference(place: Place, axis: int) -> Axis:
    if place.reference is None:
        raise UserError("direction 'reference': there is none; give --reference")
    place.check_alike([place.reference])
    theirs = place.reference.weights
    step = {name: weight.double() - theirs[name].double() for name, weight in place.weights.items()}
    words = "away from the reference"
    others = place.reference.buffers
    if any(
        not torch.equal(others[name], own) for name, own in place.subject.buffers.items() if name in others
    ):
        words += "; its buffers, as statistics of batch normalisation, differ and do not move"
    return Axis(step, -PAST, 2 - PAST, words, arrives=True)


def _principal(which: int, place: Place, axis: int) -> Axis:
    """So long, and of such a sign, that the network farthest along it is at 1."""
    there = len(place.principal)
    if which > there:
        raise UserError(
            f"direction 'pca:{which}': the networks of --trajectory and this one span {there} dimensions"
        )
    found = place.principal[which - 1]
    farthest = float(found.along[np.abs(found.along).argmax()])
    steps = [0.0, *(found.along / farthest)]
    share = f"{100 * found.share:.3g} % of their squared distances"
    words = f"principal direction {which} of {len(found.along)} networks, {share}"
    step = directions.scaled(found.direction, farthest)
    return Axis(step, min(steps) - MARGIN, max(steps) + MARGIN, words)


def _lora(rank: int | None, place: Place, axis: int) -> Axis:
    if place.reference is None:
        raise UserError("direction 'lora': there is no network that was adapted; give --reference")
    if any("lora_" in name for name in place.names):
        raise UserError(
            "direction 'lora': the factors are parameters of this network; use random:layer,params=lora_"
        )
    place.check_alike([place.reference])
    noise = generator(place.seed, "direction", axis)
    try:
        found = directions.low_rank(place.weights, place.reference.weights, noise, rank)
    except ValueError as error:
        raise UserError(f"direction 'lora': {error}") from error
    words = (
        f"random, layer-normalised, among LoRA's updates of rank {found.rank} of {found.matrices} matrices"
    )
    return Axis(found.direction, -RADIUS, RADIUS, words)


def check(texts: Sequence[str], place: Place) -> None:
    """Look whether directions can be made, as far as the networks alone tell.

    Raises:
        UserError: if networks that a direction needs are not there, or have other parameters.
    """
    place.check_alike(place.trajectory)
    for text in texts:
        subspace = parse(text).option("params")
        if subspace is not None:
            place.within(subspace)
        if parse(text).head in ("random", "reference", "pca", "lora"):
            parsed(text)(place, 0)


def order_of(text: str) -> int:
    """The order of the derivatives that a direction needs."""
    return {"gradient": 2, "eigenvector": 2, "adversarial": 1}.get(parse(text).head, 0)


def of_directions(text: str) -> int:
    """Matrix-vector products that an axis usually takes: by Lanczos 20 for one eigenvector, and 4 for another."""
    spec = parse(text)
    if spec.head == "eigenvector":
        return 16 + 4 * max(1, _which(spec))
    return int(spec.head == "gradient")


def steps(axis: Axis, points: int) -> torch.Tensor:
    """(points,) coordinates in fp64, ascending, with the centre and both ends among them, even on either side.

    Args:
        axis: along which.
        points: at least 3.
    """
    left = round((points - 1) * -axis.low / (axis.high - axis.low))
    left = min(max(left, 1), points - 2)
    below = torch.linspace(axis.low, 0, left + 1, dtype=torch.float64)
    above = torch.linspace(0, axis.high, points - left, dtype=torch.float64)
    return torch.cat([below, above[1:]])
