import numpy as np
import pytest
import torch

from geomlab.features import group_products
from geomlab.features.intervals import Interval, with_interval
from geomlab.features.kernel import debiased_kernel_hsic, rbf_cka
from geomlab.features.kernel_pairs import rbf_cka_of_layers
from tests.features.test_layer_pairs import FIELDS, layers


def gaussian(x: torch.Tensor, bandwidth: float) -> torch.Tensor:
    distances = torch.cdist(x, x)
    median = distances[torch.triu_indices(len(x), len(x), 1).unbind()].square().median()
    return torch.exp(-distances.square() / (2 * bandwidth**2 * median))


def of_a_kernel(x: torch.Tensor, y: torch.Tensor, bandwidth: float) -> Interval:
    """By leaving rows and columns out of whole kernel matrices, on whose indices the measure is."""
    k, m = gaussian(x, bandwidth), gaussian(y, bandwidth)

    def measure(rows: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        kept = rows[:, 0].long()
        a, b = k[kept][:, kept], m[kept][:, kept]
        norms = debiased_kernel_hsic(a, a) * debiased_kernel_hsic(b, b)
        return debiased_kernel_hsic(a, b) / norms.sqrt()

    index = torch.arange(len(x)).double()[:, None]
    return with_interval(measure, index, index, pairs=True)


@pytest.mark.parametrize("bandwidth", [0.5, 1.0])
def test_each_pair_has_the_interval_of_its_kernels(bandwidth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_products, "_ENTRIES", 41 * 5 * 7)
    monkeypatch.setattr(group_products, "_ROWS", 2)
    xs, ys = layers(41)
    found = rbf_cka_of_layers(xs, ys, bandwidth=bandwidth)
    assert found.value.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        one = of_a_kernel(xs[i], ys[j], bandwidth)
        assert float(found.value[i, j]) == pytest.approx(float(rbf_cka(xs[i], ys[j], bandwidth=bandwidth)))
        for name in FIELDS:
            assert float(getattr(found, name)[i, j]) == pytest.approx(float(getattr(one, name)), rel=1e-7)


def test_only_pairs_with_a_layer_of_no_distance_have_none() -> None:
    xs, ys = layers(40, 0.0)
    xs[1] = torch.full_like(xs[1], 0.1)
    xs[2] = xs[2][[0] * 35 + list(range(5))]
    found = rbf_cka_of_layers(xs, ys)
    for name in FIELDS:
        assert bool(getattr(found, name)[1:].isnan().all())
        assert bool(getattr(found, name)[0].isfinite().all())


def test_too_few_samples_or_groups_are_refused() -> None:
    xs, ys = layers(7)
    with pytest.raises(ValueError, match="the same n >= 8 samples in both, got 7 and 7"):
        rbf_cka_of_layers(xs, ys)
    xs, ys = layers(40)
    with pytest.raises(ValueError, match="at least 4 groups of samples, got 3"):
        rbf_cka_of_layers(xs, ys, groups=3)
