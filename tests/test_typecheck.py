"""That the run checks annotations at all (tests/typecheck.py)."""

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from jaxtyping import Float
from torch import Tensor

from geomlab.stats import t95
from geomlab.subject import Subject
from tests import models, typecheck


def test_a_function_of_no_shapes_is_checked() -> None:
    with pytest.raises(BeartypeCallHintParamViolation, match="t95"):
        t95("ten")  # type: ignore[arg-type]

    def wrong() -> int:
        return "ten"  # type: ignore[return-value]

    with pytest.raises(BeartypeCallHintReturnViolation, match="wrong"):
        typecheck.decorate(wrong)()


def test_a_function_of_shapes_is_checked() -> None:
    subject = models.subject(models.softmax_regression())
    with pytest.raises(BeartypeCallHintParamViolation, match="n channels height width"):
        Subject.logits(subject, torch.zeros(3))


def test_a_length_is_that_of_all_arguments_and_of_what_is_returned() -> None:
    def joined(a: Float[Tensor, "n"], b: list[Float[Tensor, "n"]], cut: int) -> Float[Tensor, "n"]:
        return (a + b[0])[cut:]

    checked = typecheck.decorate()(joined)
    x = torch.zeros(3)
    assert len(checked(x, [x], 0)) == 3
    with pytest.raises(BeartypeCallHintParamViolation, match="joined"):
        checked(x, [torch.zeros(1)], 0)
    with pytest.raises(BeartypeCallHintReturnViolation, match="joined"):
        checked(x, [x], 1)
