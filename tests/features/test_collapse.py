import pytest
import torch

from geomlab.features.classes import class_means
from geomlab.features.collapse import agreements, collapse, self_duality
from geomlab.rng import generator
from tests.populations import gaussian_classes, rotation, simplex


def around(centres: torch.Tensor, each: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples whose class means are exactly the centres."""
    noise = torch.randn(
        len(centres), each, centres.shape[1], generator=generator(0, "n"), dtype=torch.float64
    )
    noise -= noise.mean(1, keepdim=True)
    labels = torch.arange(len(centres)).repeat_interleave(each)
    return (centres[:, None] + spread * noise).flatten(0, 1), labels


@pytest.mark.parametrize(("classes", "d"), [(3, 3), (5, 8), (10, 40)])
def test_a_simplex_has_no_nc2_and_collapsed_classes_no_nc1(classes: int, d: int) -> None:
    centres = 5 + simplex(classes, d, scale=2)
    found = collapse(*around(centres, 6, 0.3), classes)
    assert [float(x) for x in (found.norms, found.angles, found.simplex)] == pytest.approx([0] * 3, abs=1e-12)
    assert float(found.nc1) > 0.01
    assert float(collapse(*around(centres, 6, 0), classes).nc1) == pytest.approx(0, abs=1e-20)
    assert found.classes == classes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_formulas_on_matrices(dtype: torch.dtype) -> None:
    x, labels = around(gaussian_classes(number=5, d=7).means, 9, 0.5)
    x = x.to(dtype)
    found, z = collapse(x, labels, 5), x.double()
    m = class_means(z, labels, 5)
    arms, residual = m - m.mean(0), z - m[labels]
    within, between = residual.T @ residual / len(z), arms.T @ arms / 5
    nc1 = (within @ torch.linalg.pinv(between, rtol=1e-10)).trace() / 5
    assert float(found.nc1) == pytest.approx(float(nc1), rel=1e-8)
    lengths = arms.norm(dim=1)
    cosines = [float(arms[i] @ arms[j] / lengths[i] / lengths[j]) for i in range(5) for j in range(i)]
    angles = torch.tensor(cosines, dtype=torch.float64)
    assert float(found.norms) == pytest.approx(float(lengths.std(correction=0) / lengths.mean()))
    assert float(found.angles) == pytest.approx(float(angles.std(correction=0)))
    assert float(found.simplex) == pytest.approx(float((angles + 0.25).abs().mean()))


def test_fewer_axes_than_classes() -> None:
    x, labels = around(gaussian_classes(number=6, d=3).means, 5, 0.5)
    m = class_means(x, labels, 6)
    arms, residual = m - m.mean(0), x - m[labels]
    expected = (residual.T @ residual / 30 @ torch.linalg.inv(arms.T @ arms / 6)).trace() / 6
    assert float(collapse(x, labels, 6).nc1) == pytest.approx(float(expected))


def test_invariances() -> None:
    x, labels = around(gaussian_classes().means, 8, 0.5)
    found = collapse(x, labels, 4)
    order = torch.randperm(len(x), generator=generator(0, "order"))
    renamed = torch.tensor([2, 0, 3, 1])[labels]
    for moved in (collapse(0.01 * x @ rotation(6) - 5, labels, 4), collapse(x[order], renamed[order], 4)):
        for name in ("nc1", "norms", "angles", "simplex"):
            assert float(getattr(moved, name)) == pytest.approx(float(getattr(found, name)), rel=1e-8)


def test_only_classes_of_two_samples_count() -> None:
    x, labels = around(gaussian_classes().means, 4, 0.5)
    some = torch.cat([torch.arange(12), torch.tensor([13])])  # of class 3 one sample is left
    found, without = collapse(x[some], labels[some], 5), collapse(x[:12], labels[:12], 3)
    assert found.classes == 3
    assert float(found.nc1) == pytest.approx(float(without.nc1))
    with pytest.raises(ValueError, match="two classes or more, got that in 1"):
        collapse(x[:5], labels[:5], 4)


@pytest.mark.parametrize("each", [50, 500])
def test_nc1_of_classes_that_do_not_differ_is_of_their_size(each: int) -> None:
    x = torch.randn(8 * each, 300, generator=generator(0, "same"), dtype=torch.float64)
    found = collapse(x, torch.arange(8 * each) % 8, 8).nc1
    assert float(found) == pytest.approx(each * 7 / 292, rel=0.1)


def test_centroids_that_coincide_have_no_nc1() -> None:
    x = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]).double()
    found = collapse(x, torch.tensor([0, 0, 1, 1]), 2)
    assert bool(found.nc1.isnan())
    assert bool(found.simplex.isnan())


def test_self_duality_of_known_weights() -> None:
    centres = gaussian_classes().means
    q = rotation(6)
    assert float(self_duality(centres, 3 * centres + 100)) == pytest.approx(0, abs=1e-20)
    assert float(self_duality(centres, -centres)) == pytest.approx(4)
    orthogonal = torch.cat([torch.zeros_like(centres), centres], dim=1)
    padded = torch.cat([centres, torch.zeros_like(centres)], dim=1)
    assert float(self_duality(padded, orthogonal)) == pytest.approx(2)
    weight = gaussian_classes(spread=1).factors[:, 0]
    found = float(self_duality(centres, weight))
    assert float(self_duality(2 * centres @ q + 1, weight @ q)) == pytest.approx(found)
    absent = torch.cat([centres, torch.full((1, 6), torch.nan).double()])
    assert float(self_duality(absent, torch.cat([weight, weight[:1]]))) == pytest.approx(found)
    assert bool(self_duality(centres[:1].repeat(2, 1), weight[:2]).isnan())
    with pytest.raises(ValueError, match="the centroids of two classes or more, got 1"):
        self_duality(absent[3:], weight[:2])


def test_agreement_with_the_nearest_centre() -> None:
    x, labels = around(simplex(4, 6, scale=10), 5, 0.1)
    centres = class_means(x, labels, 4)
    assert float(agreements(x, labels, centres).double().mean()) == 1
    predictions = labels.clone()
    predictions[:3] = 3
    assert float(agreements(x, predictions, centres).double().mean()) == pytest.approx(17 / 20)
    with pytest.raises(ValueError, match="n >= 1 samples"):
        agreements(x[:0], labels[:0], centres)
