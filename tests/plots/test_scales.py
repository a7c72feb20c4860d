import numpy as np
import pytest

from geomlab.plots.scales import Scale, choose, label, levels, power_label


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "linear"),
        ([1, 10, 1000], "log"),
        ([-1, 10, 1000], "symlog"),
        ([np.nan], "linear"),
        ([0, 0], "linear"),
    ],
)
def test_the_range_chooses_the_scale(values: list[float], kind: str) -> None:
    assert choose(values).kind == kind


def test_symlog_for_plotly_is_odd_and_labels_true_values() -> None:
    scale = Scale("symlog", 0.1)
    np.testing.assert_allclose(scale.forward([0, 0.9, -0.9]), [0, 1, -1])
    axis = scale.plotly_axis([-1, 10])
    assert axis["ticktext"] == ["−1", "−0.1", "0", "0.1", "1", "10"]
    np.testing.assert_allclose(axis["tickvals"][3], np.log10(2))


def test_levels_cover_the_finite_values() -> None:
    steps, logarithmic = levels([0.0, 1.0, np.nan])
    assert not logarithmic
    assert steps[0] <= 0.0
    assert steps[-1] >= 1.0
    steps, logarithmic = levels([0.013, 70.0, np.inf])
    assert logarithmic
    np.testing.assert_allclose(steps[[0, 1, -1]], [0.01, 0.02, 100])
    flat, _ = levels([2.0, 2.0])
    assert flat[0] < 2 < flat[-1]


def test_ticks_are_written_in_full_or_as_powers() -> None:
    assert [power_label(x) for x in (0, 0.01, -10, 1e-5, -1e6)] == [
        "0",
        "0.01",
        "−10",
        "$10^{-5}$",
        "−$10^{6}$",
    ]
    assert label(-0.25) == "−0.25"
