import math

import pytest
import torch

from geomlab.features.classes import (
    centroid_cosine,
    centroid_cosines,
    class_means,
    nearest_centres,
    scatter,
)
from geomlab.rng import generator
from tests.populations import gaussian_classes, rotation


def cloud(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=generator(0, "cloud"), dtype=torch.float64)


def test_centroid_cosine_of_a_class_moved_by_a_known_angle() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    clean = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]]).double()
    turned = clean.clone()
    turned[labels == 1] = torch.tensor([math.sin(0.3), math.cos(0.3)]).double()
    value = centroid_cosine(turned, labels, clean, labels)
    assert float(value) == pytest.approx((1 + math.cos(0.3)) / 2)


def test_centroid_cosine_leaves_out_classes_that_one_side_lacks() -> None:
    x = cloud(4, 3)
    some, other = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 2, 2])
    assert float(centroid_cosine(x, some, x, other)) == pytest.approx(1)
    assert bool(torch.isnan(centroid_cosine(x, some, x, other + 5)))


def test_centroids_agree_with_a_loop_and_a_class_without_samples_has_none() -> None:
    x, labels = cloud(20, 3), torch.tensor([0, 1, 3, 3] * 5)
    found = class_means(x.float(), labels, 4)
    for c in (0, 1, 3):
        torch.testing.assert_close(found[c], x.float().double()[labels == c].mean(0))
    assert bool(found[2].isnan().all())


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"expected labels in 0 … 2, got .*: give the number of classes"):
        class_means(cloud(2, 3), torch.tensor([0, label]), 3)


def test_a_turned_class_shows_in_that_class_alone() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    clean = torch.tensor([[1.0, 0], [1, 0], [0, 2], [0, 2], [0, 0], [0, 0]]).double()
    turned = clean.clone()
    turned[labels == 1] = torch.tensor([math.sin(0.3), math.cos(0.3)]).double()
    found = centroid_cosines(turned, labels, clean, labels, 4)
    assert found[:2].tolist() == pytest.approx([1, math.cos(0.3)])
    assert bool(
        found[2:].isnan().all()
    )  # a centroid at the origin has no direction, an absent class no centroid


def test_scatter_agrees_with_matrices_that_noise_is_taken_from() -> None:
    x, labels = cloud(30, 4) + 2, torch.tensor([0, 1, 1, 2, 2, 2] * 5)
    found = scatter(x, labels, 3)
    covariances = [torch.cov(x[labels == c].T) for c in range(3)]
    assert found.within.tolist() == pytest.approx([float(s.trace()) for s in covariances])
    centres = torch.stack([x[labels == c].mean(0) for c in range(3)])
    weights = torch.eye(3).double() - 1 / 3  # μ_c − μ_G in terms of the centroids
    for c in range(3):
        noise = sum(
            float(weights[c, k] ** 2 * covariances[k].trace() / (labels == k).sum()) for k in range(3)
        )
        expected = float((weights[c] @ centres).square().sum()) - noise
        assert float(found.between[c]) == pytest.approx(expected)


def test_scatter_of_labels_at_random_finds_no_classes() -> None:
    x = 3 * cloud(4000, 5)
    found = [scatter(part, torch.arange(40) % 4, 4) for part in x.split(40)]
    between = torch.stack([one.between.mean() for one in found])
    assert abs(float(between.mean())) < 4 * float(between.std()) / 10
    assert float(between.std()) > 0.1
    assert any(bool(one.ratio.isnan()) for one in found)  # below 0, centroids are not told apart


def test_scatter_invariances() -> None:
    classes = gaussian_classes()
    x, labels = classes.draw(classes.noise(80, "x")), classes.labels(80)
    found = scatter(x, labels, 4)
    order = torch.randperm(80, generator=generator(0, "order"))
    for moved in (scatter(3 * x @ rotation(6) + 7, labels, 4), scatter(3 * x[order], labels[order], 4)):
        torch.testing.assert_close(moved.within, 9 * found.within)
        torch.testing.assert_close(moved.between, 9 * found.between)
        torch.testing.assert_close(moved.ratio, found.ratio)


def test_a_class_of_one_sample_has_no_scatter() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    found, without = scatter(cloud(5, 3), labels, 4), scatter(cloud(5, 3)[:4], labels[:4], 2)
    assert found.within.isnan().tolist() == found.between.isnan().tolist() == [False, False, True, True]
    torch.testing.assert_close(found.between[:2], without.between)
    with pytest.raises(ValueError, match="n >= 2 samples in each of two classes or more, got that in 1"):
        scatter(cloud(3, 3), torch.tensor([0, 0, 1]), 2)


def test_the_nearest_centre_is_of_a_class_that_has_one() -> None:
    centres = torch.tensor([[0.0, 0], [torch.nan, torch.nan], [4, 0]]).double()
    assert nearest_centres(torch.tensor([[1.0, 1], [3, 9]]).double(), centres).tolist() == [0, 2]
    with pytest.raises(ValueError, match="the centroid of one class or more"):
        nearest_centres(torch.ones(1, 2).double(), centres[1:2])
