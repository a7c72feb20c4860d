import pytest
import torch
from torch.multiprocessing.spawn import ProcessException

from geomlab.curvature.hessian import Hessian
from geomlab.errors import UserError
from tests import models
from tests.linalg import processes


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Of each of two processes."""
    return processes.run(processes.everything, tmp_path_factory.mktemp("group"))


def test_two_processes_agree_with_one_and_to_the_bit_with_each_other(
    found: list[dict[str, dict[str, object]]],
) -> None:
    first, second = (dict(each["curvature"]) for each in found)
    assert (first.pop("samples"), second.pop("samples")) == ((5, 11), (6, 11))
    subject = models.subject(models.convolution())
    alone = Hessian(subject, models.batches(), list(subject.weights))
    expected = {**processes.measured(alone), "loss": alone.loss, "gradient": alone.gradient}
    assert set(first) == set(second) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-11, msg=key)
        torch.testing.assert_close(second[key], first[key], rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("work", ["failing_build", "failing_product"])
def test_an_error_in_one_process_is_raised_in_all(found: list[dict[str, object]], work: str) -> None:
    other, failed = (each[work] for each in found)
    assert isinstance(other, UserError)
    assert isinstance(failed, UserError)
    assert str(failed) == "this one fails"
    assert "failed in another process of the group" in str(other)


def test_operators_of_other_dimensions_are_refused_everywhere(found: list[dict[str, object]]) -> None:
    for each in found:
        error = each["other_dimensions"]
        assert isinstance(error, ValueError)
        assert "got [1, 1] samples and dimensions [3, 4]" in str(error)


def test_a_process_that_dies_is_not_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ProcessException):
        processes.run(processes.dying, tmp_path_factory.mktemp("group"))
