"""What an attack raises and when it is done, for samples that may leave one by one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from geomlab.data.attacks import losses
from geomlab.errors import UserError
from geomlab.typing import Bool, Float, Labels, Logits

Rule = Literal["least", "next"]
Target = int | Rule
RULES: tuple[Rule, ...] = ("least", "next")
LOSSES = {"ce": losses.cross_entropy, "dlr": losses.dlr}
TARGETED = {"ce": losses.targeted_cross_entropy, "dlr": losses.targeted_dlr}
_CLASSES = {("dlr", False): 3, ("dlr", True): 4}  # that the loss needs; 2 otherwise


@dataclass(frozen=True, eq=False)
class Goal:
    """A loss of outputs and of what is given of each sample.

    Attributes:
        loss: (outputs, *given) -> (n,) what is raised.
        done: (outputs, *given) -> (n,) whether the attack has succeeded, and the sample need not be gone on with.
        given: tensors (n, …), for example labels and targets.
    """

    loss: Callable[..., Tensor]
    done: Callable[..., Tensor]
    given: tuple[Tensor, ...]

    def take(self, rows: Tensor) -> "Goal":
        """The same for some of the samples.

        Args:
            rows: (m,) numbers, or (n,) which.
        """
        return replace(self, given=tuple(one[rows] for one in self.given))

    def values(self, outputs: Tensor) -> Float[Tensor, "n"]:
        """The loss of each sample."""
        return self.loss(outputs, *self.given)

    def reached(self, outputs: Tensor) -> Bool[Tensor, "n"]:
        """Whether each sample is done."""
        return self.done(outputs, *self.given)


def misclassified(logits: Logits, labels: Labels, *_: Tensor) -> Bool[Tensor, "n"]:
    """The largest logit is not the label's."""
    return logits.argmax(dim=1) != labels


def at_target(logits: Logits, labels: Labels, targets: Labels) -> Bool[Tensor, "n"]:
    """The largest logit is the target's."""
    del labels
    return logits.argmax(dim=1) == targets


def never(outputs: Tensor, *_: Tensor) -> Bool[Tensor, "n"]:
    """No sample is done: the highest loss is sought."""
    return torch.zeros(len(outputs), dtype=torch.bool, device=outputs.device)


def targets_of(target: Target, logits: Logits, labels: Labels) -> Labels:
    """The class (n,) that each sample is to be taken for.

    Args:
        target: a class for all; `least`, the least likely one (Kurakin et al. 2017); or `next`, the likeliest other.
        logits: of the clean images.
        labels: true classes.
    """
    if isinstance(target, int):
        return torch.full_like(labels, target)
    if target == "least":
        return logits.scatter(1, labels[:, None], torch.inf).argmin(dim=1)
    return others(logits, labels)[:, 0]


def others(logits: Logits, labels: Labels) -> Tensor:
    """The other classes of each sample (n, C − 1), the likeliest first."""
    order = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order[:, :-1]


def require_classes(loss: str, classes: int, *, targeted: bool) -> None:
    """Refuse a loss that is not defined for so few classes.

    Args:
        loss: `ce` or `dlr`.
        classes: number of logits.
        targeted: whether it is the targeted one.

    Raises:
        UserError: naming the loss that is defined.
    """
    needed = _CLASSES.get((loss, targeted), 2)
    if classes < needed:
        kind = f"targeted {loss.upper()}" if targeted else loss.upper()
        raise UserError(
            f"the {kind} loss needs at least {needed} classes, the network has {classes}; use loss=ce"
        )
