"""ASAM: vanilla fine-tuning at the worst weights of a ball that scales with them (Kwon et al. 2021, 2102.11600)."""

from pydantic import Field

from geomlab.typing import Scalar
from grace import sharpness
from grace.batches import Batch
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `asam`; defaults are the paper's, section 5.

    Attributes:
        rho: radius, relative to the weights.
        eta: added to their size, so that entries near zero move too.
    """

    rho: float = Field(0.5, gt=0)
    eta: float = Field(0.01, ge=0)


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Mean cross-entropy at θ + ρ T² g/‖T g‖, T = |θ| + η."""
    rho, eta = run.options.rho, run.options.eta
    worst = sharpness.loss_above(
        run,
        lambda: ft.loss(run, batch)["cross_entropy"],
        lambda weights, gradients: sharpness.ellipsoid(weights, gradients, rho, eta),
    )
    return {"cross_entropy": worst}


METHOD = Method(
    name="asam",
    summary="vanilla fine-tuning at the worst weights of a ball that scales with them",
    reference="Kwon et al. 2021 (2102.11600)",
    terms="B",
    trains=ft.METHOD.trains,
    prepare=ft.METHOD.prepare,
    loss=loss,
    options=Options,
)
