"""LoRA fine-tuning: cross-entropy, adapters in the image tower, the zero-shot head frozen."""

from geomlab.rng import generator
from grace import lora
from grace.method import Method
from grace.methods import ft
from grace.run import Run


def prepare(run: Run) -> None:
    """Add the frozen zero-shot head, and adapters where the recipe wants them."""
    run.model.add_zero_shot_head()
    settings = run.lora
    lora.attach(
        run.model.clip, settings.targets, settings.rank, scale=settings.scale, rng=generator(run.seed, "lora")
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
