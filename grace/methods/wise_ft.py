"""WiSE-FT: the mean of the weights before and after fine-tuning (Wortsman et al. 2022, 2109.01903)."""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from geomlab import checkpoint
from geomlab.architectures import HEAD
from geomlab.errors import UserError
from grace import model as models
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `wise-ft`.

    Attributes:
        alpha: share of the fine-tuned weights; default 0.5, the paper's where no α is chosen on held-out data.
        finetuned: a checkpoint fine-tuned from the start; no step is taken then, so that each α costs nothing.
    """

    alpha: float = Field(0.5, ge=0, le=1)
    finetuned: str | None = None


def prepare(run: Run) -> None:
    """Keep θ0 with its zero-shot head; be at the fine-tuned weights already where a file has them."""
    run.model.add_zero_shot_head()
    run.keep_original()
    if run.options.finetuned is not None:
        _load(run, Path(run.options.finetuned))


def finish(run: Run) -> None:
    """(1 − α) θ0 + α θ of every tensor: weights, head, and running statistics where there are any."""
    assert run.original is not None
    before = run.original.state_dict()
    with torch.no_grad():
        for name, after in run.model.state_dict().items():
            after.copy_(interpolate(before[name], after, run.options.alpha))


def interpolate(before: Tensor, after: Tensor, alpha: float) -> Tensor:
    """(1 − α)·before + α·after; at 0 and 1 one of them to the bit, and counters are not averaged."""
    if alpha == 0:
        return before
    if alpha == 1 or not after.is_floating_point():
        return after
    return torch.lerp(before, after, alpha)


def _load(run: Run, path: Path) -> None:
    found = checkpoint.read(path)
    tuned = models.from_checkpoint(found, run.model.labels)
    if HEAD in found.tensors and tuned.head is None:
        raise UserError(f"{path}: fine-tuned on other classes than those of {run.recipe.data.train}")
    tuned.add_zero_shot_head()
    own, given = (
        {name: tuple(of.shape) for name, of in model.state_dict().items()} for model in (run.model, tuned)
    )
    if own != given or tuned.architecture != run.model.architecture:
        spec = (tuned.architecture["spec"], run.model.architecture["spec"])
        different = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
        raise UserError(
            f"{path}: another network than training starts from ({spec[0]}, here {spec[1]}; "
            f"other shapes: {', '.join(different[:3]) or 'none'}); give a checkpoint fine-tuned from it"
        )
    run.model.load_state_dict(tuned.state_dict())


METHOD = Method(
    name="wise-ft",
    summary="vanilla fine-tuning, then the mean of the weights before and after",
    reference="Wortsman et al. 2022 (2109.01903)",
    terms="A",
    trains=ft.METHOD.trains,
    prepare=prepare,
    loss=ft.loss,
    finish=finish,
    takes_steps=lambda options: options.finetuned is None,
    options=Options,
)
