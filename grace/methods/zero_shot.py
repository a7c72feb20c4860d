"""The zero-shot model: nothing is trained; it is written with its head, beside those that are."""

from grace.method import Method
from grace.methods import ft
from grace.run import Run


def prepare(run: Run) -> None:
    """The head by the text tower, also where the start brings a trained one."""
    run.model.set_head(run.model.zero_shot_weight())


METHOD = Method(
    name="zero-shot",
    summary="no training: the start with the head of its text tower",
    reference="Radford et al. 2021 (2103.00020)",
    terms="",
    trains=ft.METHOD.trains,
    prepare=prepare,
    loss=ft.loss,
    takes_steps=lambda options: False,
)
