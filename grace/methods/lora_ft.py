"""LoRA fine-tuning: cross-entropy, adapters in the image tower, the zero-shot head frozen."""

from geomlab.errors import UserError
from geomlab.rng import generator
from grace import lora
from grace.method import Method
from grace.methods import ft
from grace.run import Run


def prepare(run: Run) -> None:
    """Add the frozen zero-shot head, and adapters where the recipe wants them.

    Raises:
        UserError: if they would be outside the image tower, whose embeddings alone the losses see.
    """
    run.model.add_zero_shot_head()
    settings = run.lora
    adapted = lora.attach(
        run.model.clip, settings.targets, settings.rank, scale=settings.scale, rng=generator(run.seed, "lora")
    )
    outside = [name for name in adapted if not name.startswith("visual.")]
    if outside:
        raise UserError(
            f"lora.targets '{settings.targets}' finds {outside[0]}, which is not of the image tower; begin it with "
            r"^visual\."
        )


METHOD = Method(
    name="lora-ft",
    summary="cross-entropy through low-rank adapters of the image tower, the zero-shot head frozen",
    reference="Hu et al. 2022 (2106.09685)",
    terms="A",
    trains=r"\.lora_[AB]$",
    prepare=prepare,
    loss=ft.loss,
    uses=frozenset({"lora"}),
)
