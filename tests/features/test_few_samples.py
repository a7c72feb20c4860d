"""Every measure of too few samples is refused with the number it needs, or NaN where that is what it says."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from geomlab.features import canonical, classes, collapse, dimension, discrepancy, manifold, shift, similarity
from geomlab.features.drift import gram_drift_of_classes, gram_drift_of_samples
from geomlab.features.intervals import halved, jackknifed, with_interval
from geomlab.features.kernel import rbf_cka
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.neighbours import mutual_knn
from geomlab.features.outliers import outlier_shift
from geomlab.features.rsa import rsa
from geomlab.features.streamed import Sums
from geomlab.features.uniformity import alignment, modality_gap, uniformity
from geomlab.rng import generator

Measure = Callable[[Tensor, Tensor, Tensor], Tensor]

# Of x, y and labels in turn of two classes, with the least n that it takes.
REFUSED: dict[str, tuple[int, Measure]] = {
    "cka": (4, lambda x, y, _: similarity.cka(x, y)),
    "biased_cka": (4, lambda x, y, _: similarity.cka(x, y, debias=False)),
    "gram_drift": (3, lambda x, y, _: similarity.gram_drift(x, y)),
    "procrustes": (3, lambda x, y, _: similarity.procrustes(x, y)),
    "angular_distance": (3, lambda x, y, _: similarity.angular_distance(x, y)),
    "rbf_cka": (4, lambda x, y, _: rbf_cka(x, y)),
    "rsa": (4, lambda x, y, _: rsa(x, y)),
    "svcca": (7, lambda x, y, _: canonical.svcca(x, y, variance=1.0)),
    "pwcca": (7, lambda x, y, _: canonical.pwcca(x, y)),
    "mutual_knn": (4, lambda x, y, _: mutual_knn(x, y, k=2)),
    "outlier_shift": (6, lambda x, y, _: outlier_shift(similarity.cka, x, y)),
    "gram_drift_of_samples": (3, lambda x, y, _: gram_drift_of_samples(x, y)),
    "gram_drift_of_classes": (1, lambda x, y, labels: gram_drift_of_classes(x, y, labels, 2).nansum()),
    "streamed_cka": (4, lambda x, y, _: Sums.of([x], [y]).cka()),
    "streamed_gram_drift": (3, lambda x, y, _: Sums.of([x], [y]).gram_drift()),
    "cka_of_layers": (8, lambda x, y, _: cka_of_layers([x], [y]).stderr),
    "with_interval": (8, lambda x, y, _: with_interval(similarity.cka, x, y).stderr),
    "jackknifed": (2, lambda x, y, _: jackknifed(lambda r: x[r].mean(), len(x)).stderr),
    "halved": (4, lambda x, y, _: halved(lambda r: x[r].mean(), len(x)).stderr),
    "lid": (3, lambda x, y, _: manifold.lid(x, 2)),
    "nearest": (2, lambda x, y, _: manifold.nearest(x, 1)),
    "two_nn": (10, lambda x, y, _: dimension.two_nn(x)),
    "spectrum": (2, lambda x, y, _: dimension.spectrum(x)),
    "participation_ratio": (4, lambda x, y, _: dimension.participation_ratio(x)),
    "uniformity": (2, lambda x, y, _: uniformity(x)),
    "modality_gap": (1, lambda x, y, _: modality_gap(x, y)),
    "scatter": (4, lambda x, y, labels: classes.scatter(x, labels, 2).ratio),
    "collapse": (4, lambda x, y, labels: collapse.collapse(x, labels, 2).nc1),
    "self_duality": (
        2,
        lambda x, y, labels: collapse.self_duality(
            classes.class_means(x, labels, 2), torch.eye(2, 3).double()
        ),
    ),
    "covariance_distance": (4, lambda x, y, _: discrepancy.covariance_distance(x, y, paired=True)),
    "shared_priors": (7, lambda x, y, labels: discrepancy.shared_priors(labels, labels, 2)),
    "agreements": (
        1,
        lambda x, y, labels: collapse.agreements(x, labels, classes.class_means(x, labels, 2)),
    ),
}

# NaN for classes, or for the mean over them, of fewer than so many samples, each of two that take turns.
BY_CLASS: dict[str, tuple[int, Measure]] = {
    "centroid_cosines": (1, lambda x, y, labels: classes.centroid_cosines(x, labels, y, labels, 2)),
    "gram_drift_of_classes": (3, lambda x, y, labels: gram_drift_of_classes(x, y, labels, 2)),
    "squared_norms": (2, lambda x, y, labels: discrepancy.squared_norms(x, labels, 2)),
    "mean_distances": (
        2,
        lambda x, y, labels: discrepancy.mean_distances(x, labels, y, labels, 2, paired=True),
    ),
    "class_distances": (
        4,
        lambda x, y, labels: discrepancy.class_distances(x, labels, y, labels, 2, paired=True).covariance,
    ),
}

# Of each sample, which takes no other.
BY_SAMPLE: dict[str, Measure] = {
    "alignment": lambda x, y, _: alignment(x, y),
    "gram_volume": lambda x, y, _: manifold.gram_volume(x, y, x + 2 * y.roll(1, 1)),
    "sample_shifts": lambda x, y, _: shift.sample_shifts(x, y),
}


def drawn(n: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = partial(torch.randn, n, 3, dtype=torch.float64)
    return 1 + draw(generator=generator(0, "x")), 1 + draw(generator=generator(0, "y")), torch.arange(n) % 2


@pytest.mark.parametrize("name", REFUSED)
def test_too_few_samples_are_refused_by_number(name: str) -> None:
    least, measure = REFUSED[name]
    for n in range(least):
        with pytest.raises(ValueError, match=r"expected .*(samples|n\b|class)"):
            measure(*drawn(n))
    assert not bool(measure(*drawn(least)).isnan().any())


@pytest.mark.parametrize("name", BY_CLASS)
def test_classes_of_too_few_samples_are_nan(name: str) -> None:
    least, measure = BY_CLASS[name]
    for n in range(1, 2 * least + 1):
        assert measure(*drawn(n)).isnan().tolist() == [(n + 1) // 2 < least, n // 2 < least]


@pytest.mark.parametrize("name", BY_SAMPLE)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_what_is_of_each_sample_needs_no_other(name: str, n: int) -> None:
    found = BY_SAMPLE[name](*drawn(n))
    assert found.shape == (n,)
    assert bool(found.isfinite().all())
