"""How far the mean loss rises near a point: along its gradient, by groups of samples, and in random directions.

With ε a step of the weights, every measure is a mean of paired differences L_i(θ + ε) − L_i(θ), in nats. The inputs are
held fixed, adversarial ones as well. Losses are taken in fp64 from the logits: a rise may be a millionth of the loss.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.linalg.estimates import MEASURED
from geomlab.risk import SampleLosses, check_finite, check_repeated, gradient
from geomlab.stats import mean_stderr
from geomlab.subject import Subject
from geomlab.typing import Float, Params

SAM_RHO = 0.05  # Foret et al. 2021 (arXiv 2010.01412), their default
ASAM_RHO = 0.5  # Kwon et al. 2021, the official repository's for CIFAR-10 (1.0 for CIFAR-100)
GROUP = 16  # ours: a dozen groups from the 200 samples of the smallest budget


@dataclass(frozen=True, eq=False)
class Sharpness:
    """A rise of the mean loss, with its error and what it cost.

    Attributes:
        value: in nats; NaN where `status` says that there is no direction.
        stderr: one standard error of the mean of `samples`; NaN from a single one.
        samples: what was averaged, in fp64: a rise for each sample, group or probe.
        status: `measured`, or what stands in the way of reading the value.
        gradients: spent, in passes over all samples.
        forwards: spent, in passes over all samples, those that prove that the network repeats itself included.
    """

    value: float
    stderr: float
    samples: Float[Tensor, "m"]
    status: str
    gradients: float
    forwards: float


def sam(subject: Subject, batches: Batches, names: list[str], *, rho: float = SAM_RHO) -> Sharpness:
    """L(θ + ρ g/‖g‖) − L(θ): the rise at the end of SAM's step (Foret et al. 2021, arXiv 2010.01412).

    Given the samples the value is exact up to rounding. It is the first-order guess at the largest rise within ρ, so a
    lower bound of that. To second order it is ρ‖g‖ + ½ρ² gᵀHg/‖g‖².

    Args:
        subject: the network at θ; nothing is written into it.
        batches: the inputs.
        names: parameters that move.
        rho: ρ, the Euclidean length of the step.

    Returns:
        The error is that over samples, s/√n of L_i(θ + ε) − L_i(θ), with the step ε held fixed: what other samples
        would do to ε is not in it, and samples that did not choose ε would show a smaller rise.
        Where the gradient is exactly zero there is no direction: the value is NaN and the status says so.

    Raises:
        UserError: if the loss or its gradient is not finite, here or at the end of the step, or two passes disagree.
        ValueError: if rho is not positive.
    """
    return _along_gradient(subject, batches, names, rho, adaptive=False)


def adaptive_sam(subject: Subject, batches: Batches, names: list[str], *, rho: float = ASAM_RHO) -> Sharpness:
    """L(θ + ε) − L(θ) with ε = ρ T²g/‖Tg‖, T = diag|θ| (Kwon et al. 2021, arXiv 2102.11600).

    It does not change where θ is rescaled and the function is not, as by c and 1/c in consecutive layers of a ReLU
    network. For that T is |θ| of every parameter named, biases included, and nothing is added to it; the authors' code
    takes T = 1 for biases and |θ| + 0.01 elsewhere, which is close to invariant. Weights that are zero do not move.
    To first order the value is ρ‖Tg‖.

    Args:
        subject: the network at θ; nothing is written into it.
        batches: the inputs.
        names: parameters that move; to be invariant, all that are rescaled.
        rho: ρ, the length of ε/|θ|, relative changes: 0.5 lets one weight change by half, or 10,000 by 0.5 % each.

    Returns:
        As from `sam`; there is no direction where θ·g is zero in every entry.

    Raises:
        UserError: as `sam`.
        ValueError: if rho is not positive.
    """
    return _along_gradient(subject, batches, names, rho, adaptive=True)


def m_sharpness(
    subject: Subject,
    batches: Batches,
    names: list[str],
    generator: torch.Generator,
    *,
    m: int = GROUP,
    rho: float = SAM_RHO,
) -> Sharpness:
    """Mean over disjoint random groups of m samples of the SAM sharpness of each group's own loss.

    Source: Foret et al. 2021; Andriushchenko & Flammarion 2022 (arXiv 2206.06232). Smaller groups agree less on a
    direction, so it grows as m falls, from `sam` at m = n: compare it only at the same m. For that reason a last group
    of fewer samples is dropped, not weighted. Groups are drawn at random since samples often come sorted by class.

    Args:
        subject: the network at θ; nothing is written into it.
        batches: the inputs.
        names: parameters that move.
        generator: of the groups (CPU).
        m: samples a group.
        rho: ρ, the Euclidean length of each group's step.

    Returns:
        The error is s/√groups over the groups, each with a step of its own. A group whose gradient is exactly zero, as
        where all its samples are fitted to rounding, counts as 0, the least that a largest rise can be, and the status
        says how many there are; if all are such, the value is NaN.

    Raises:
        UserError: as `sam`, or if there are fewer than m samples.
        ValueError: if rho or m is not positive.
    """
    _check_rho(rho)
    n = len(batches)
    if m < 1:
        raise ValueError(f"expected m >= 1 samples a group, got {m}")
    if m > n:
        raise UserError(
            f"m-sharpness of groups of {m} needs as many samples, got {n}; take more, or a smaller m"
        )
    centre = _centre(subject, batches)
    groups = torch.randperm(n, generator=generator)[: n // m * m].view(-1, m).to(batches.labels.device)
    rises, still = [], 0
    for rows in groups:
        group = batches.take(rows)
        step = _ascent(subject.weights, gradient(subject, group, names), rho, adaptive=False)
        if step is None:
            still += 1
            rises.append(0.0)
            continue
        rises.append(float((_moved(subject, group, step, rho).loss - centre.loss[rows]).mean()))
    share = m / n
    found = Sharpness(
        *mean_stderr(rises),
        torch.tensor(rises, dtype=torch.float64),
        centre.status(rises),
        len(groups) * share,
        2 + (len(groups) - still) * share,
    )
    if still == len(groups):
        return replace(found, value=float("nan"), stderr=float("nan"), status=_no_direction("every group"))
    if still:
        counted = f"{still} of {len(groups)} groups have a gradient of zero and count as 0"
        return replace(found, status=counted if found.status == MEASURED else f"{counted}; {found.status}")
    return found


def average_case(
    subject: Subject,
    batches: Batches,
    names: list[str],
    generator: torch.Generator,
    *,
    rho: float = SAM_RHO,
    probes: int = 10,
) -> Sharpness:
    """E L(θ + ρz) − L(θ) for Gaussian z of E‖z‖² = 1: each entry has variance 1/dim.

    So the step is as long as SAM's at the same ρ (in high dimension ‖z‖ hardly varies); in the usual form, entries of
    variance σ² (e.g. Andriushchenko et al. 2023, arXiv 2302.07011), σ = ρ/√dim. Probes come in pairs ±z, so what is
    linear in z cancels exactly. To second order the value is ½ρ² Tr H/dim: negative where the curvature is on average,
    and in a large network much below `sam`. Kinks, as of ReLU, that a step crosses add to it what H does not see.

    Args:
        subject: the network at θ; nothing is written into it.
        batches: the inputs.
        names: parameters that move.
        generator: of the probes (CPU).
        rho: ρ, the root mean square length of the step.
        probes: pairs ±z, at least 1; the standard error needs 2.

    Returns:
        The error is s/√probes over the pairs, on these samples.

    Raises:
        UserError: if the loss is not finite, here or at a probe, or two passes disagree.
        ValueError: if rho or probes is not positive.
    """
    if probes < 1:
        raise ValueError(f"expected probes >= 1, got {probes}")
    _check_rho(rho)
    centre = _centre(subject, batches)
    scale = rho / sum(subject.weights[name].numel() for name in names) ** 0.5
    rises = []
    for _ in range(probes):
        step = {
            name: scale * torch.randn(weight.shape, generator=generator).to(weight)
            for name, weight in ((name, subject.weights[name]) for name in names)
        }
        there = _moved(subject, batches, step, rho).loss
        back = _moved(subject, batches, {name: -tensor for name, tensor in step.items()}, rho).loss
        rises.append(float(((there + back) / 2 - centre.loss).mean()))
    samples = torch.tensor(rises, dtype=torch.float64)
    return Sharpness(*mean_stderr(rises), samples, centre.status(rises), 0, 2 + 2 * probes)


@dataclass(frozen=True, eq=False)
class _Pass:
    """A forward pass over all batches.

    Attributes:
        loss: (n,) cross-entropy of each sample, fp64.
        logits: (n, C).
    """

    loss: Float[Tensor, "n"]
    logits: Float[Tensor, "n classes"]

    def status(self, rises: list[float]) -> str:
        """Whether a mean of rises is larger than rounding, which this pass, the centre, has in common for all of them.

        A logit is wrong by about eps of the sample's largest, independently of other samples.
        """
        finite = torch.where(self.logits.isfinite(), self.logits.abs().double(), 0)
        rounding = torch.finfo(self.logits.dtype).eps * float(finite.amax(1).norm()) / len(finite)
        if abs(mean_stderr(rises)[0]) > rounding:
            return MEASURED
        return f"not told from rounding, about {rounding:.1g}; try --dtype float64"


def _along_gradient(
    subject: Subject, batches: Batches, names: list[str], rho: float, *, adaptive: bool
) -> Sharpness:
    _check_rho(rho)
    centre = _centre(subject, batches)
    step = _ascent(subject.weights, gradient(subject, batches, names), rho, adaptive=adaptive)
    if step is None:
        nothing = torch.full((len(batches),), torch.nan, dtype=torch.float64)
        return Sharpness(float("nan"), float("nan"), nothing, _no_direction("the loss"), 1, 2)
    rises = (_moved(subject, batches, step, rho).loss - centre.loss).cpu()
    return Sharpness(*mean_stderr(rises.numpy()), rises, centre.status(rises.tolist()), 1, 3)


def _no_direction(owner: str) -> str:
    return f"no direction: {owner} has a gradient of zero in all that can move"


def _ascent(weights: Params, slope: Params, rho: float, *, adaptive: bool) -> dict[str, Tensor] | None:
    """ρT²g/‖Tg‖ with T = 1, or |θ| where adaptive; None where Tg = 0."""
    scaled = {name: weights[name].abs() * g if adaptive else g for name, g in slope.items()}
    length = float(torch.linalg.vector_norm(params.flatten(scaled), dtype=torch.float64))
    if length == 0:
        return None
    factor = rho / length
    return {name: factor * (weights[name].abs() * tg if adaptive else tg) for name, tg in scaled.items()}


def _check_rho(rho: float) -> None:
    if not rho > 0:
        raise ValueError(f"expected rho > 0, got {rho}")


@torch.no_grad()
def _forward(subject: Subject, batches: Batches, weights: Params | None = None) -> _Pass:
    logits = torch.cat([batches.among(subject.logits(images, weights)) for images, _ in batches])
    return _Pass(F.cross_entropy(logits.double(), batches.labels, reduction="none"), logits)


def _centre(subject: Subject, batches: Batches) -> _Pass:
    """The losses at θ; a difference of two passes means nothing unless passes repeat."""
    first, again = (_forward(subject, batches) for _ in range(2))
    check_finite(SampleLosses(first.loss, first.logits.argmax(1) == batches.labels), subject, "these inputs")
    check_repeated(first.logits, again.logits, subject)
    return first


def _moved(subject: Subject, batches: Batches, step: Params, rho: float) -> _Pass:
    """The losses at θ + step."""
    found = _forward(subject, batches, {name: subject.weights[name] + move for name, move in step.items()})
    bad = int((~torch.isfinite(found.loss)).sum())
    if bad:
        raise UserError(
            f"{subject.name}: the loss at weights moved by rho = {rho:g} is NaN or infinite for {bad} of "
            f"{len(batches)} samples; take a smaller rho, or --dtype float64"
        )
    return found
