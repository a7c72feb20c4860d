"""TeCoA through adapters: adversarial training of low-rank factors (Mao et al. 2023, 2212.07016)."""

from grace.method import Method
from grace.methods import lora_ft, tecoa

METHOD = Method(
    name="lora-tecoa",
    summary="cross-entropy of attacked images through low-rank adapters, the zero-shot head frozen",
    reference="Mao et al. 2023 (2212.07016) with Hu et al. 2022 (2106.09685)",
    terms="A",
    trains=lora_ft.METHOD.trains,
    prepare=lora_ft.prepare,
    loss=tecoa.loss,
    uses=frozenset({"attack", "lora"}),
)
