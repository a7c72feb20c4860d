import pytest
import torch

from grace import curriculum


def test_curvature_is_n_times_the_mean_square() -> None:
    gradients = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.5])]
    torch.testing.assert_close(
        curriculum.curvature(gradients, 8), torch.tensor([8 * 30 / 4, 8 * 0.25], dtype=torch.float64)
    )


def test_the_average_begins_with_the_first_value_and_then_decays() -> None:
    first, second = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 0.0])
    begun = curriculum.smoothed(None, first, 0.9)
    torch.testing.assert_close(begun, first)
    torch.testing.assert_close(curriculum.smoothed(begun, second, 0.9), torch.tensor([1.2, 3.6]))


@pytest.mark.parametrize(
    ("curvatures", "expected"),
    [
        ([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 2, 2, 2, 2, 2, 2, 4, 4]),
        ([9.0, 0, 5], [4, 0, 2]),
        ([1e-9, 1e3, 1e-3, 1.0, 10.0], [0, 4, 2, 2, 2]),
        ([2.0, 2.0, 2.0], [4, 4, 4]),
        ([3.0], [4]),
        (list(range(16)), [0] * 4 + [2] * 8 + [4] * 4),
    ],
)
def test_ranks_by_percentile_of_hand_made_curvatures(curvatures: list[float], expected: list[int]) -> None:
    assert curriculum.ranks(torch.tensor(curvatures, dtype=torch.float64), 4, 80).tolist() == expected


def test_ranks_of_other_settings() -> None:
    values = torch.arange(11.0)
    assert curriculum.ranks(values, 1, 80).tolist() == [0, 0, 0, *[1] * 8]
    assert curriculum.ranks(values, 8, 50).tolist() == [*[0] * 5, *[8] * 6]
    assert curriculum.ranks(values, 8, 100).tolist() == [0, *[4] * 9, 8]


def test_gradients_decide_which_layers_are_perturbed() -> None:
    gradients = [scale * torch.ones(3, 2) for scale in (0.1, 1.0, 0.01, 5.0, 0.5)]
    assert curriculum.ranks(curriculum.curvature(gradients, 16), 4, 80).tolist() == [2, 2, 0, 4, 2]


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (19, 1), (300, 15), (20_000, 1000), (250_000, 1000)])
def test_the_interval_scales_to_short_runs(steps: int, expected: int) -> None:
    assert curriculum.interval(steps) == expected
