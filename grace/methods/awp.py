"""Adversarial training under adversarial weight perturbation of full rank (Wu et al. 2020, 2004.05884)."""

from pydantic import Field

from geomlab.data.attacks.losses import cross_entropy
from geomlab.typing import Scalar
from grace import sharpness
from grace.batches import Batch
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `awp`.

    Attributes:
        gamma: γ, ‖v‖ of each weight relative to the weight's. Default: of the official code's two, 0.01 for plain
            adversarial training and 0.005 beside other losses, the milder, for fine-tuning [O].
    """

    gamma: float = Field(0.005, gt=0)


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean cross-entropy of attacked images at θ + v, v one ascent step of that loss (Algorithm 1).

    The attack is against θ, as in the official code.
    """
    gamma = run.options.gamma
    attacked = run.craft_against(batch.images, batch.labels)
    worst = sharpness.loss_above(
        run,
        lambda: cross_entropy(run.model.logits(attacked), batch.labels).mean(),
        lambda weights, gradients: sharpness.layers(weights, gradients, gamma),
    )
    return {"adversarial": worst}


METHOD = Method(
    name="awp",
    summary="cross-entropy of attacked images at adversarially perturbed weights, image tower and head",
    reference="Wu et al. 2020 (2004.05884)",
    terms="B",
    trains=ft.METHOD.trains,
    prepare=ft.METHOD.prepare,
    loss=loss,
    options=Options,
    uses=frozenset({"attack"}),
)
