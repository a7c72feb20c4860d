"""The empirical risk of a subject over fixed batches: per-sample losses, their mean, its gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.subject import Subject
from geomlab.typing import Bool, Float, Images, Logits, Params

# What becomes of the inputs where a derivative moves the weights.
HELD_FIXED, RECOMPUTED = "held fixed", "recomputed at each point"
NOT_REPEATED = (
    "the network must be deterministic in eval mode (dropout, sampling or random augmentation inside it?)"
)


@dataclass(frozen=True, eq=False)
class SampleLosses:
    """What a forward pass over all batches gives.

    Attributes:
        loss: (n,) cross-entropy of each sample, in nats.
        correct: (n,) whether the largest logit is the label's.
    """

    loss: Float[Tensor, "n"]
    correct: Bool[Tensor, "n"]


@torch.no_grad()
def sample_losses(subject: Subject, batches: Batches, weights: Params | None = None) -> SampleLosses:
    """Per-sample losses, at other weights where given.

    Raises:
        UserError: if the network cannot take a batch, or does not give logits for it.
    """
    losses, correct = [], []
    for images, labels in batches:
        logits = batches.among(subject.logits(images, weights))
        losses.append(F.cross_entropy(logits, labels, reduction="none"))
        correct.append(logits.argmax(1) == labels)
    return SampleLosses(torch.cat(losses), torch.cat(correct))


def gradient(subject: Subject, batches: Batches, names: list[str]) -> dict[str, Tensor]:
    """Gradient of the mean loss with respect to the named parameters; zero where the loss does not use one.

    Raises:
        UserError: if it is not finite.
    """
    _, total = value_and_gradient(subject, batches, {name: subject.weights[name] for name in names})
    bad = [name for name, tensor in total.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise UserError(
            f"the loss of {subject.name} has a gradient that is NaN or infinite at {bad[0]}; try float64"
        )
    return total


def value_and_gradient(
    subject: Subject, batches: Batches, weights: Params
) -> tuple[float, dict[str, Tensor]]:
    """The mean loss at some weights and its gradient with respect to those, finite or not; zero for unused ones."""
    value = 0.0
    total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    for images, labels in batches:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in weights.items()}
        logits = batches.among(subject(images, leaves))
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(batches)
        value += float(loss.detach())
        pieces = differentiate(loss, tuple(leaves.values()))
        for name, piece in zip(weights, pieces, strict=True):
            total[name] += piece
    return value, total


def differentiate(
    output: Tensor,
    weights: tuple[Tensor, ...],
    *,
    along: Tensor | None = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Jᵀu of an output with respect to each of the weights; zeros for those it does not depend on.

    Args:
        output: of any shape.
        weights: leaves.
        along: u, of the shape of the output; not needed for a scalar, whose gradient it then is.
        create_graph: whether the result can be differentiated in turn; keeps the graph too.
        retain_graph: whether the graph is kept.
    """
    if not output.requires_grad:
        return tuple(torch.zeros_like(weight) for weight in weights)
    return torch.autograd.grad(
        output,
        weights,
        grad_outputs=along,
        create_graph=create_graph,
        retain_graph=retain_graph or create_graph,
        materialize_grads=True,
    )


def check_finite(losses: SampleLosses, subject: Subject, where: str) -> None:
    """Refuse a loss that is not finite at the centre.

    Raises:
        UserError: saying for how many samples.
    """
    bad = int((~torch.isfinite(losses.loss)).sum())
    if bad:
        raise UserError(
            f"{subject.name}: the loss is NaN or infinite for {bad} of {len(losses.loss)} samples under {where}; "
            "check the weights and the data, or use --dtype float64"
        )


def check_repeated(first: Logits, again: Logits, subject: Subject) -> None:
    """Refuse a network whose second pass is another: logits off by more than √eps of the largest one.

    Logits, not losses: those of an overfit network hardly move, and a mean hides what single samples do. Rounding in
    the same kernels stays far below, dropout of a hundredth far above.

    Raises:
        UserError: saying by how much.
    """
    moved, largest = _moved(first, again)
    if not moved <= torch.finfo(first.dtype).eps ** 0.5 * largest:
        raise UserError(
            f"{subject.name}: two passes over the data gave logits that differ by {moved:.2g}, where the "
            f"largest is {largest:.2g}; {NOT_REPEATED}"
        )


@torch.no_grad()
def check_apart(subject: Subject, images: Images) -> None:
    """Refuse a network that sees an image otherwise beside another one: its loss would depend on the batch size.

    The first image is tried beside itself and beside the last one: at the same place of as large a batch, so that the
    kernels are the same, as is their rounding. What does not repeat itself is not judged here, see `check_repeated`.

    Args:
        subject: the network.
        images: at least two.

    Raises:
        UserError: if its logits move by more than √eps of the largest one.
    """
    alone, beside, again = (subject.logits(images[[0, other]]) for other in (0, -1, -1))
    moved, largest = _moved(alone[:1], beside[:1])
    allowed = torch.finfo(alone.dtype).eps ** 0.5 * largest
    if not moved <= allowed and _moved(beside, again)[0] <= allowed:
        raise UserError(
            f"{subject.name}: the logits of an image differ by {moved:.2g} where another one is beside it, and the "
            f"largest is {largest:.2g}; a network must give each image its own logits in eval mode (statistics of the "
            "batch inside it? give its batch norm running ones: track_running_stats=True)"
        )


def _moved(first: Logits, again: Logits) -> tuple[float, float]:
    """By how much logits differ at most, and the largest of the first."""
    moved = float(torch.where(again == first, 0, (again - first).abs()).max())  # masked logits may be −∞
    return moved, float(first[first.isfinite()].abs().max())
