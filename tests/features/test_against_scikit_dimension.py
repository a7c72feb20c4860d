"""scikit-dimension as a rival that was written from the same papers."""

from collections.abc import Callable

import numpy as np
import pytest
import skdim
import torch
from numpy.typing import NDArray

from geomlab.features.dimension import DISCARD, participation_ratio, spectrum, two_nn
from geomlab.features.manifold import lid

Points = NDArray[np.float64]


def ball() -> Points:
    return np.asarray(skdim.datasets.hyperBall(500, 5, random_state=0))


def sphere() -> Points:
    """In more dimensions than its own, away from the origin."""
    return np.pad(np.asarray(skdim.datasets.hyperSphere(400, 4, random_state=0)), ((0, 0), (0, 30))) + 7


def roll() -> Points:
    """A swiss roll with a sphere beside it, in four dimensions."""
    return np.asarray(skdim.datasets.swissRoll3Sph(300, 100, random_state=0))


manifolds = pytest.mark.parametrize("points", [ball, sphere, roll])


@manifolds
@pytest.mark.parametrize("k", [5, 20])
def test_lid_is_its_maximum_likelihood_with_k_in_place_of_k_less_one(
    points: Callable[[], Points], k: int
) -> None:
    x = points()
    found = lid(torch.from_numpy(x), k).numpy()
    biased = skdim.id.MLE().fit(x, n_neighbors=k).dimension_pw_
    np.testing.assert_allclose(found, biased * k / (k - 1), rtol=1e-9)
    unbiased = skdim.id.MLE(unbiased=True).fit(x, n_neighbors=k).dimension_pw_
    np.testing.assert_allclose(found, unbiased * k / (k - 2), rtol=1e-9)


@manifolds
def test_two_nn_is_its_fit_of_a_line(points: Callable[[], Points]) -> None:
    x = points()
    theirs = skdim.id.TwoNN(discard_fraction=DISCARD).fit(x).dimension_
    assert float(two_nn(torch.from_numpy(x))) == pytest.approx(theirs, rel=1e-9)


@manifolds
def test_the_spectrum_and_its_participation_ratio_are_its_principal_components(
    points: Callable[[], Points],
) -> None:
    x = points()
    with np.errstate(divide="ignore", invalid="ignore"):  # of gaps between eigenvalues of 0
        theirs = skdim.id.lPCA(ver="participation_ratio").fit(x)
    values = spectrum(torch.from_numpy(x))
    np.testing.assert_allclose(values, theirs.explained_var_, rtol=1e-9, atol=1e-12)
    plain = float(values.sum() ** 2 / values.square().sum())
    assert plain == pytest.approx(float(theirs.dimension_), rel=1e-9)
    # Without the bias of few samples, (Σλ)²/n in Σλ² of Gaussian ones.
    assert 0 < float(participation_ratio(torch.from_numpy(x))) / plain - 1 < 2 * plain / len(x)
