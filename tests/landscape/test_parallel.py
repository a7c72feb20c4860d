"""Slices over two processes (gloo) against one."""

from typing import Any

import numpy as np
import pytest

from tests.landscape import processes
from tests.linalg.processes import run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Of each of two processes."""
    return run(processes.everything, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize(("shared", "count"), [("points", len(processes.POINTS)), ("one point", 1)])
def test_points_in_shares_give_the_bits_of_one_process(found: list[Any], shared: str, count: int) -> None:
    alone = processes.on_a_grid(processes.POINTS[:count])
    assert not np.isfinite(alone["clean"].loss).all() or count == 1
    for each in found:
        for name, expected in alone.items():
            for field, value in vars(expected).items():
                np.testing.assert_array_equal(vars(each[shared][name])[field], value)


def test_samples_in_shares_give_the_numbers_of_one_process_and_the_same_bits_in_both(
    found: list[Any],
) -> None:
    alone = processes.on_a_grid(processes.POINTS)
    first, second = (each["samples"] for each in found)
    for name, expected in alone.items():
        assert expected.group_n.sum() in (11, 13)
        for field, value in vars(expected).items():
            np.testing.assert_allclose(vars(first[name])[field], value, rtol=1e-12)
            np.testing.assert_array_equal(vars(first[name])[field], vars(second[name])[field])


@pytest.mark.parametrize("name", ["failing", "failing losses"])
def test_what_fails_in_one_process_is_raised_in_all(found: list[Any], name: str) -> None:
    other, failed = (each[name] for each in found)
    assert failed == "this one fails"
    assert "failed in another process of the group" in other
