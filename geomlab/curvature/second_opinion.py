"""pyhessian's eigenvalues of the same Hessian, from copies of its parameters, and what to make of a difference.

PyHessian (Yao et al. 2020, arXiv 1912.07145) finds the eigenvalues of largest magnitude, of either sign, one after the
other by power iteration, each orthogonal to the vectors before it, and stops when a value hardly changes from one
iteration to the next. That is no bound of its error: at its default tolerance of 1e-3 it is off by about as much, and
by far more where eigenvalues are close. It reports no residual; `checked` takes them with our operator.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import pyhessian
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from geomlab.data.batches import Batches
from geomlab.differentiable import plain_attention
from geomlab.errors import UserError
from geomlab.linalg import rows
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.rng import derive_seed
from geomlab.subject import Subject
from geomlab.typing import Float, Images, Logits, Vector

Verdict = Literal["agrees", "ours missed one", "theirs is off", "not searched by ours", "undecided"]


@dataclass(frozen=True, eq=False)
class SecondOpinion:
    """What pyhessian found.

    Attributes:
        values: (k,) the eigenvalues it gave for the k largest magnitudes, in descending order, signs kept, fp64.
        vectors: (dim, k) its vectors, of length 1 (0 where it gave zero), in the order of the parameter names.
        residuals: (k,) ‖Hv − λv‖, absolute: an eigenvalue lies within that distance of each value. NaN until they are
            `checked`, infinite for a vector of zero.
        tolerance: relative, what it was asked for.
        status: whether the residuals are within tolerance·|λ|, or `not checked`.
        products: matrix-vector products it spent.
        seconds: of wall time it took, the copies and the first gradient included.
    """

    values: Float[Tensor, "k"]
    vectors: Float[Tensor, "dim k"]
    residuals: Float[Tensor, "k"]
    tolerance: float
    status: str
    products: int
    seconds: float


@dataclass(frozen=True)
class Difference:
    """One of pyhessian's eigenvalues beside ours.

    Attributes:
        theirs: its value.
        residual: of its pair, absolute; NaN where it was not checked.
        ours: the value of ours it is matched with, or the nearest where it has no match.
        error: bound of |ours − eigenvalue|, from our residuals.
        difference: theirs − ours.
        allowed: whether |difference| is at most residual + error, so that the two do not contradict each other;
            False where it was not checked.
        verdict: `agrees`: |difference| is at most its tolerance·|theirs| + our error.
            `ours missed one`: its residual proves an eigenvalue above our smallest of the top, or below our largest of
            the bottom, that is none of ours.
            `theirs is off`: its residual is above its tolerance, or k of ours are larger in magnitude.
            `not searched by ours`: an eigenvalue between our top and our bottom, which we did not look for.
            `undecided`: another value of theirs is matched with the same one of ours (a copy that we lack, or the same
            vector twice), or there is no residual to decide by.
    """

    theirs: float
    residual: float
    ours: float
    error: float
    difference: float
    allowed: bool
    verdict: Verdict


def pyhessian_eigenvalues(
    subject: Subject,
    batches: Batches,
    names: list[str],
    k: int,
    *,
    seed: int = 0,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
) -> SecondOpinion:
    """The k eigenvalues of largest magnitude of the mean loss's Hessian, by pyhessian.

    It works on copies of the parameters, since it fills `.grad`; the caller's random numbers are left alone. One batch
    is differentiated once and its graph kept; of several the graph is made anew for each product. Memory: that graph,
    the copies, and two vectors of the parameters' size for each eigenvalue.

    Args:
        subject: the network at the point of interest.
        batches: the inputs; batches count by their size.
        names: parameters, in the order of the vectors' entries.
        k: number of eigenvalues, at most the dimension.
        seed: of the start vectors.
        tolerance: it stops when a value changes by less than this, relative; 1e-3 is pyhessian's default.
        max_iterations: a value; 100 is pyhessian's default.

    Raises:
        UserError: if it gives NaN.
        ValueError: if k or max_iterations is too small, or k larger than the dimension.
    """
    dim = sum(subject.weights[name].numel() for name in names)
    if not 1 <= k <= dim or max_iterations < 1:
        raise ValueError(f"expected 1 <= k <= {dim} and max_iterations >= 1, got {k} and {max_iterations}")
    start = time.perf_counter()
    copy = _Copy(subject, names, batches)
    first, *others = batches
    with _alone(subject.device, seed):
        given = {"dataloader": batches} if others else {"data": first}
        peer = pyhessian.hessian(copy, nn.CrossEntropyLoss(), cuda=subject.device.type == "cuda", **given)
        products = 0

        def count(_: Tensor) -> None:
            nonlocal products
            products += 1

        # It counts none itself. A leaf's hook runs whenever a derivative reaches it: in each product, and of several
        # batches in each of their gradients too.
        with copy.copies[0].register_hook(count):
            values, pieces = peer.eigenvalues(maxIter=max_iterations, tol=tolerance, top_n=k)
    products //= 2 * (1 + len(others)) if others else 1
    seconds = time.perf_counter() - start
    unsorted = torch.tensor(values, dtype=torch.float64)
    if not bool(unsorted.isfinite().all()):
        raise UserError(f"{subject.name}: pyhessian gives eigenvalues {values}; try --dtype float64")
    found, order = unsorted.sort(descending=True)
    vectors = torch.stack([_unit(pieces[number]) for number in order.tolist()], dim=1)
    unknown = torch.full_like(found, torch.nan)
    return SecondOpinion(found, vectors, unknown, tolerance, "not checked", products, seconds)


def checked(opinion: SecondOpinion, operator: Operator) -> SecondOpinion:
    """The same with residuals, at k products.

    Args:
        opinion: what pyhessian found.
        operator: our Hessian of the same loss, inputs and parameters, in the same order.
    """
    vectors, values = opinion.vectors, opinion.values
    residuals = rows.residual_norms(operator.matmat(vectors), vectors, values.to(vectors.device)).cpu()
    residuals[(vectors == 0).all(0).cpu()] = torch.inf
    bad = int((residuals > opinion.tolerance * values.abs()).sum())
    within = f"within {opinion.tolerance:g}·|λ|"
    status = f"{bad} of {len(values)} residuals not {within}" if bad else f"residuals {within}"
    return replace(opinion, residuals=residuals, status=status)


def differences(top: Eigenpairs, bottom: Eigenpairs, theirs: SecondOpinion) -> list[Difference]:
    """What each of pyhessian's eigenvalues says beside ours, in descending order.

    As many as can are matched one to one within the errors of both, each as near as that allows. One that is left is
    compared with the nearest of ours, which may be another's.

    Args:
        top: our largest eigenvalues.
        bottom: our smallest; those that are in `top` as well (a small dimension) count once.
        theirs: k eigenvalues of the same matrix, of largest magnitude.

    Raises:
        ValueError: if we have fewer eigenvalues than they.
    """
    fresh = bottom.values + bottom.errors < top.values[-1] - top.errors[-1]
    ours = torch.cat([top.values, bottom.values[fresh]])
    errors = torch.cat([top.errors, bottom.errors[fresh]])
    k = len(theirs.values)
    if len(ours) < k:
        raise ValueError(
            f"expected at least as many eigenvalues of ours as of theirs, got {len(ours)} and {k}"
        )
    matched = _matched(theirs, ours, errors)
    ceiling = float(bottom.values[fresh].max()) if bool(fresh.any()) else -torch.inf
    between = (ceiling, float(top.values[-1]))
    found: list[Difference] = []
    for value, residual, (index, alone) in zip(
        theirs.values.tolist(), theirs.residuals.tolist(), matched, strict=True
    ):
        nearest, error = float(ours[index]), float(errors[index])
        difference, claimed = value - nearest, theirs.tolerance * abs(value)
        verdict: Verdict = "agrees"
        disproven = abs(difference) > residual + error  # False where the residual is NaN
        if alone or disproven or abs(difference) > claimed + error:
            verdict = _verdict(value, residual, claimed, ours, errors, between=between, k=k)
        # One that has no match is allowed where its own residual says that it may be no eigenvalue of its own.
        allowed = abs(difference) <= residual + error and (not alone or residual > claimed)
        found.append(Difference(value, residual, nearest, error, difference, allowed, verdict))
    return found


def _matched(
    theirs: SecondOpinion, ours: Float[Tensor, "n"], errors: Float[Tensor, "n"]
) -> list[tuple[int, bool]]:
    """Which of ours each of theirs is compared with, and whether that one is no match of it."""
    distances = (theirs.values[:, None] - ours[None, :]).abs()
    claimed = theirs.tolerance * theirs.values.abs()
    proven = torch.where(theirs.residuals.isfinite(), theirs.residuals, 0.0)
    allowed = torch.maximum(claimed, proven)[:, None] + errors[None, :]
    none = float(len(theirs.values) + 1)  # more than all matches together
    tiny = torch.finfo(ours.dtype).tiny
    costs = torch.where(distances <= allowed, distances / allowed.clamp(min=tiny), none)
    _, assigned = linear_sum_assignment(costs.numpy())
    chosen = torch.from_numpy(assigned)
    alone = costs.gather(1, chosen[:, None])[:, 0] > 1
    nearest = torch.where(alone, distances.argmin(1), chosen)
    return list(zip(nearest.tolist(), alone.tolist(), strict=True))


def _verdict(
    value: float,
    residual: float,
    claimed: float,
    ours: Float[Tensor, "n"],
    errors: Float[Tensor, "n"],
    *,
    between: tuple[float, float],
    k: int,
) -> Verdict:
    """Who is off where a value is not within the errors of the one it is matched with."""
    low, high = between
    none_of_ours = bool(((ours - value).abs() > errors + residual).all())  # False where the residual is NaN
    if none_of_ours and (value - residual > high or value + residual < low):
        return "ours missed one"
    larger = int((ours.abs() - errors > abs(value) + claimed).sum())
    if larger >= k:
        return "theirs is off"
    if none_of_ours and low < value - residual and value + residual < high:
        return "not searched by ours"
    return "theirs is off" if residual > claimed else "undecided"


def _unit(pieces: list[Tensor]) -> Vector:
    """A vector of pyhessian's at length 1: it divides by ‖v‖ + 1e-6. One of zeros stays."""
    vector = torch.cat([piece.detach().reshape(-1) for piece in pieces])
    length = rows.norm(vector)
    return vector / length if length > 0 else vector


class _Copy(nn.Module):
    """A subject as pyhessian wants it: a module whose parameters are copies of the named ones, and no others."""

    def __init__(self, subject: Subject, names: list[str], batches: Batches) -> None:
        super().__init__()
        self._subject, self._names, self._batches = subject, names, batches
        self.copies = nn.ParameterList([subject.weights[name].clone() for name in names])

    def forward(self, images: Images) -> Logits:
        logits = self._subject(images, dict(zip(self._names, self.copies, strict=True)))
        # pyhessian fails on a parameter that the loss does not use or is linear in: add all, with derivatives of 0.
        nothing = torch.stack([copy.square().sum() for copy in self.copies]).sum()
        return self._batches.among(logits + 0 * nothing)


@contextmanager
def _alone(device: torch.device, seed: int) -> Iterator[None]:
    """Around pyhessian: attention by plain products, a random state of its own, and one known warning silenced.

    It draws on the CPU, so only that generator is set; and it takes `cuda` to mean the current device.
    """
    with (
        plain_attention(),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
    ):
        warnings.filterwarnings("ignore", message=r"Using backward\(\) with create_graph=True")
        torch.default_generator.manual_seed(derive_seed(seed, "pyhessian"))
        yield
