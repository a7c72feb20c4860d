import numpy as np
import pytest
import torch
import xarray as xr

from geomlab.features import similarity
from geomlab.features.intervals import with_interval
from geomlab.results.likeness import cka, likenesses

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30)])
def test_cka_is_that_of_the_tensors(n: int, d: int) -> None:
    x = 1000 + RNG.normal(size=(n, d))
    y = x @ RNG.normal(size=(d, 5)) + RNG.normal(size=(n, 5))
    expected = similarity.cka(torch.from_numpy(x), torch.from_numpy(y))
    assert cka(x, y) == pytest.approx(float(expected), abs=1e-9)
    assert cka(x, x @ np.linalg.qr(RNG.normal(size=(d, d)))[0]) == pytest.approx(1)


def test_of_constant_features_there_is_none() -> None:
    assert np.isnan(cka(np.ones((9, 3)), RNG.normal(size=(9, 3))))


def stored(samples: list[list[str]], features: list[list[np.ndarray]]) -> xr.Dataset:
    """Checkpoints × conditions, with room for the largest."""
    shape = tuple(max(f.shape[i] for row in features for f in row) for i in (0, 1))
    whole = np.full((len(features), len(features[0]), *shape), np.nan)
    for i, row in enumerate(features):
        for j, f in enumerate(row):
            whole[i, j, : f.shape[0], : f.shape[1]] = f
    dims = ("checkpoint", "condition", "sample", "feature")
    names = {
        "checkpoint": ["a", "b", "c"][: len(features)],
        "condition": ["clean", "pgd"][: len(features[0])],
    }
    return xr.Dataset({"sample_features": (dims, whole), "samples_sha256": (dims[:2], samples)}, names)


def test_pairs_of_checkpoints_that_saw_the_same_samples() -> None:
    x, y, z = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 4)), RNG.normal(size=(30, 6))
    found = list(
        likenesses(stored([["s", "s"], ["s", "s"], ["s", "other"]], [[x, z], [y, x[:30]], [x[:7], z]]))
    )
    assert [(one.checkpoints, one.condition, one.n) for one in found] == [
        (("a", "b"), "clean", 40),
        (("a", "b"), "pgd", 30),
    ]
    expected = with_interval(similarity.cka, torch.from_numpy(x), torch.from_numpy(y))
    assert found[0].cka == pytest.approx(float(expected.value))
    assert found[0].cka_stderr == pytest.approx(float(expected.stderr))


def test_older_results_have_none() -> None:
    assert not list(likenesses(xr.Dataset()))
