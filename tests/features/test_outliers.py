import pytest
import torch

from geomlab.features.intervals import with_interval
from geomlab.features.outliers import outlier_shift
from geomlab.features.similarity import cka
from tests.features.pairs import independent, pair, rotation


def test_two_far_samples_make_the_cka_and_are_found() -> None:
    x, y = independent(200, 20)
    for f in (x, y):
        f[7] *= 60 / f[7].norm()
        f[90] = -f[7]  # the debiased CKA sees pairs only
    assert float(cka(x, y)) > 0.7
    left = [i for i in range(200) if i not in (7, 90)]
    shift = float(outlier_shift(cka, x, y))
    assert shift == pytest.approx(float(cka(x[left], y[left])) - float(cka(x, y)))
    assert shift < -0.7


def test_far_samples_of_either_representation_leave() -> None:
    x, y = pair(100)
    x[3], y[8] = x[3] + 500, y[8] + 500
    left = [i for i in range(100) if i not in (3, 8)]
    assert float(outlier_shift(cka, x, y)) == pytest.approx(float(cka(x[left], y[left]) - cka(x, y)))


def test_without_outliers_it_is_small() -> None:
    x, y = pair(300)
    found = with_interval(cka, x, y)
    assert abs(float(outlier_shift(cka, x, y))) < float(found.high - found.low) / 2


def test_far_is_far_from_the_mean_not_from_the_origin() -> None:
    x, y = pair(100)
    shift = float(outlier_shift(cka, x, y))
    assert float(outlier_shift(cka, 3 * x @ rotation(7) + 1000, y)) == pytest.approx(shift, rel=1e-8)
    assert float(outlier_shift(cka, (x + 1000).float(), y.float())) == pytest.approx(shift, abs=1e-3)


def test_the_share_is_rounded_up() -> None:
    x = torch.arange(20.0).double()[:, None] ** 2
    sizes = []

    def count(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.new_tensor(0.0)

    for share in (0.01, 0.05, 0.051):
        outlier_shift(count, x, x, share=share)
    assert sizes == [19, 20, 19, 20, 18, 20]


def test_too_few_or_different_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="the same n >= 1 samples"):
        outlier_shift(cka, torch.ones(4, 2).double(), torch.ones(5, 2).double())
    with pytest.raises(ValueError, match="the same n >= 4 samples in both, got 3"):
        outlier_shift(cka, torch.eye(4).double(), torch.eye(4).double())
