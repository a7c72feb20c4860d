"""SAM: vanilla fine-tuning at the worst weights of a ball (Foret et al. 2021, 2010.01412)."""

from pydantic import Field

from geomlab.typing import Scalar
from grace import sharpness
from grace.batches import Batch
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `sam`.

    Attributes:
        rho: radius, of all weights together. Default: the paper's, section 3.1.
    """

    rho: float = Field(0.05, gt=0)


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean cross-entropy at θ + ρ g/‖g‖."""
    rho = run.options.rho
    worst = sharpness.loss_above(
        run,
        lambda: ft.loss(run, batch)["cross_entropy"],
        lambda weights, gradients: sharpness.sphere(gradients, rho),
    )
    return {"cross_entropy": worst}


METHOD = Method(
    name="sam",
    summary="vanilla fine-tuning at the worst weights of a ball",
    reference="Foret et al. 2021 (2010.01412)",
    terms="B",
    trains=ft.METHOD.trains,
    prepare=ft.METHOD.prepare,
    loss=loss,
    options=Options,
)
