"""The bound derived from cells made up here, against the formulas in numpy."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr

from geomlab import stats
from geomlab.measure import Bound
from geomlab.measure.bound import AT_BEST, TRAINED_ON, distances

N, D, CLASSES = 42, 5, 3
LABELS = np.arange(N) % CLASSES


def features(shift: float = 0.0, *, seed: int = 0, n: int = N, paired: bool = True) -> xr.Dataset:
    """Two draws of one seed are of the same samples, moved."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D)) + 4 * np.eye(D)[LABELS[:n]]
    x = (1 + shift) * x + shift * np.eye(D)[4]
    return xr.Dataset(
        {
            "sample_features": (("sample", "feature"), x.astype(np.float32)),
            "sample_label": ("sample", LABELS[:n]),
            "samples_sha256": f"samples-{seed}",
            "paired": int(paired),
        }
    )


def curvature(trace: float, error: float = 1.0) -> xr.Dataset:
    return xr.Dataset({"trace": trace, "trace_stderr": error, "params": "full", "matrix": "hessian"})


def drift(absolute: float, layers: Sequence[str] = ("a", "b"), *warnings: str) -> dict[str, xr.Dataset]:
    one = xr.Dataset(
        {"absolute": absolute, "warnings": json.dumps(list(warnings))}, coords={"layer": list(layers)}
    )
    return {"": one}


def accuracy() -> xr.Dataset:
    return xr.Dataset({"mean_loss": 0.4, "mean_loss_stderr": 0.1, "accuracy": 0.75})


CELLS = {
    "accuracy": {"clean": accuracy()},
    "curvature": {"clean": curvature(20), "pgd": curvature(80, 4), "domain:x": curvature(-30)},
    "features": {"clean": features(), "pgd": features(0.5), "domain:x": features(0.2, seed=1, paired=False)},
    "drift": drift(3.0),
}


def warnings(found: xr.Dataset) -> list[str]:
    said: list[str] = json.loads(found["warnings"].item())
    return said


def unit(one: xr.Dataset) -> np.ndarray:
    x = one["sample_features"].values.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> float:
    """2 Σ π_c (‖Δμ‖² + ‖ΔΣ‖_F) of independent samples, with the bias taken off moment by moment."""
    total = 0.0
    for c in range(CLASSES):
        s, t = x[a == c], y[b == c]
        mean = (
            ((s.mean(0) - t.mean(0)) ** 2).sum() - np.cov(s.T).trace() / len(s) - np.cov(t.T).trace() / len(t)
        )
        square = _squared(s) + _squared(t) - 2 * (np.cov(s.T) * np.cov(t.T)).sum()
        total += 2 * (a == c).mean() * (mean + np.sign(square) * math.sqrt(abs(square)))
    return total


def _squared(s: np.ndarray) -> float:
    """Tr Σ² without bias: of all four distinct samples the mean of ¼⟨x_i − x_j, x_k − x_l⟩²."""
    n = len(s)
    differences = s[:, None] - s[None]
    products = np.einsum("ijd,kld->ijkl", differences, differences) ** 2
    i, j, k, l = np.ogrid[:n, :n, :n, :n]  # noqa: E741
    distinct = (i != j) & (i != k) & (i != l) & (j != k) & (j != l) & (k != l)
    return float(products[distinct].mean() / 4)


def test_the_terms_are_the_formulas_of_what_is_largest() -> None:
    found = Bound(trained_on=500)(CELLS)
    sigma = found["sigma"].values
    np.testing.assert_allclose(found["proximity"][0], 9 / (2 * 500 * sigma**2))
    np.testing.assert_allclose(found["sharpness"], sigma**2 / 2 * 80)
    np.testing.assert_allclose(found["sharpness_stderr"], sigma**2 / 2 * 4)
    assert found["sharpest"].item() == "pgd"
    far = found["distance"].values
    assert found["farthest"].item() == found["pair"].values[far.argmax()]
    np.testing.assert_allclose(found["discrepancy"], found["lipschitz"] * far.max())
    np.testing.assert_allclose(
        found["discrepancy_stderr"], found["lipschitz"] * found["distance_stderr"].values[far.argmax()]
    )
    best = math.sqrt(3 / math.sqrt(500 * 80))
    assert found["sigma_best"].values == pytest.approx([best])
    assert sigma[found["at"].values] == pytest.approx([best])
    assert sigma[[0, -1]] == pytest.approx([best / 1000, best * 1000])
    assert found["at_is"].item() == AT_BEST
    assert (found["clean_loss"], found["clean_loss_stderr"], found["clean_error"]) == (0.4, 0.1, 0.25)
    assert warnings(found) == ["Tr H is negative under domain:x; (B) is of the largest one"]


def test_every_two_conditions_are_compared_and_the_same_samples_in_pairs() -> None:
    apart = distances(CELLS["features"])
    assert list(apart) == ["clean – pgd", "clean – domain:x", "pgd – domain:x"]
    assert [one.paired for one in apart.values()] == [True, False, False]
    assert [(one.classes, one.of) for one in apart.values()] == [(3, 3)] * 3
    x, y = (unit(CELLS["features"][name]) for name in ("pgd", "domain:x"))
    one = apart["pgd – domain:x"]
    assert one.value == pytest.approx(naive(x, LABELS, y, LABELS), rel=1e-10)
    group = stats.group_of(N)
    left_out = [
        [naive(x[group != g], LABELS[group != g], y, LABELS) for g in range(20)],
        [naive(x, LABELS, y[group != g], LABELS[group != g]) for g in range(20)],
    ]
    errors = [float(stats.jackknife_error(np.array(some))) for some in left_out]
    assert one.stderr == pytest.approx(math.hypot(*errors), rel=1e-8)


def test_a_pair_knows_that_its_noise_is_common() -> None:
    same = features(0.5)
    alone = same.assign(samples_sha256="others")
    pair, apart = (distances({"clean": features(), "pgd": other}) for other in (same, alone))
    assert pair["clean – pgd"].paired
    assert not apart["clean – pgd"].paired
    assert pair["clean – pgd"].stderr < 0.8 * apart["clean – pgd"].stderr
    moved = [unit(features()), unit(same)]
    shift = moved[0] - moved[1]
    mean = [shift[c == LABELS].mean(0) for c in range(CLASSES)]
    noise = [np.cov(shift[c == LABELS].T).trace() / (N / CLASSES) for c in range(CLASSES)]
    least = 2 * np.mean([(m**2).sum() - e for m, e in zip(mean, noise, strict=True)])
    assert pair["clean – pgd"].value > least > 0


def test_samples_of_training_that_are_not_known_are_swept_and_each_has_its_sigma() -> None:
    found = Bound()(CELLS)
    assert found["trained_on"].values.tolist() == list(TRAINED_ON)
    assert not found["n_known"].item()
    sigma, at = found["sigma"].values, found["at"].values
    np.testing.assert_allclose(sigma[at], found["sigma_best"], rtol=1e-12)
    for number, n in enumerate(TRAINED_ON):
        np.testing.assert_allclose(found["proximity"][number], 9 / (2 * n * sigma**2))
        assert found["proximity"][number, at[number]].item() == pytest.approx(
            found["sharpness"][at[number]].item()
        )
    assert warnings(found)[0].startswith(
        "n, the samples it was trained on, is not known: swept over 100, 10,000, "
    )


@pytest.mark.parametrize(
    ("moved", "traces", "sigma", "said", "warned"),
    [
        (
            3.0,
            (-20, -80),
            math.sqrt(3 / math.sqrt(500 * 20)),
            "(A) is as large as (B) is negative",
            "(B) is negative",
        ),
        (3.0, (0, -80), 3 / math.sqrt(500), "(A) is ½, for (B) is 0", "Tr H is negative under pgd"),
        (0.0, (20, -80), 1 / math.sqrt(20), "(B) is ½ in size, for (A) is 0", "Tr H is negative under pgd"),
        (0.0, (0, -1), 1.0, "(B) is ½ in size, for (A) is 0", "Tr H is negative under pgd"),
    ],
)
def test_where_no_sigma_is_best_it_is_said_which_one_is_reported(
    moved: float, traces: tuple[float, float], sigma: float, said: str, warned: str
) -> None:
    some = {"clean": curvature(traces[0]), "pgd": curvature(traces[1])}
    found = Bound(trained_on=500)({**CELLS, "curvature": some, "drift": drift(moved)})
    at = int(found["at"].values[0])
    assert found["sigma"].values[at] == pytest.approx(sigma)
    assert found["at_is"].item() == said
    assert np.isnan(found["sigma_best"]).all()
    assert f"(A) + (B) has no least σ; terms are given where {said}" in warnings(found)
    assert any(text.startswith(warned) for text in warnings(found))
    assert found["sharpness"].values[at] == pytest.approx(sigma**2 / 2 * traces[0])
    assert found["proximity"].values[0, at] == pytest.approx(moved**2 / (1000 * sigma**2))


def test_what_has_too_few_samples_of_a_class_is_left_out_and_said() -> None:
    few = {**CELLS["features"], "domain:x": features(seed=1, n=6, paired=False)}  # two of each class
    found = Bound(trained_on=500)({**CELLS, "features": few})
    assert np.isnan(found["distance"].values).tolist() == [False, True, True]
    assert found["farthest"].item() == "clean – pgd"
    assert np.isfinite(found["discrepancy"]).all()
    assert [text for text in warnings(found) if text.startswith("(C)")] == [
        f"(C) of {pair} is not defined: expected n >= 4 samples of some class on both sides, got fewer of all"
        for pair in ("clean – domain:x", "pgd – domain:x")
    ]
    some = features(seed=1, n=15, paired=False)
    some = some.assign(sample_label=("sample", np.array([0] * 11 + [1] * 3 + [2])))
    found = Bound(trained_on=500)({**CELLS, "features": {"clean": features(), "domain:x": some}})
    assert found["pair_classes"].values.tolist() == [1]
    assert "(C) of clean – domain:x is of 1 of 3 classes, those with 4 samples on both sides" in warnings(
        found
    )


def test_one_condition_has_no_distance() -> None:
    one = {"curvature": {"pgd": curvature(20)}, "features": {"pgd": features()}, "drift": drift(3.0)}
    found = Bound(trained_on=500)(one)
    assert found.sizes["pair"] == 0
    assert np.isnan(found["discrepancy"]).all()
    assert np.isfinite(found["sharpness"]).all()
    assert np.isnan(found["clean_loss"])
    assert "(C) is not defined: it is of two conditions or more, and there is one" in warnings(found)
    assert "clean inputs were not measured, so R̂_ID is not known" in warnings(found)


def test_inputs_that_did_not_move_are_said_to_be_no_farther_apart_than_noise() -> None:
    a, b = features(seed=0, paired=False), features(seed=3, paired=False)
    found = Bound(trained_on=500)({**CELLS, "features": {"clean": a, "domain:x": b}})
    value, error = found["distance"].values[0], found["distance_stderr"].values[0]
    assert abs(value) < 3 * error
    said = [text for text in warnings(found) if text.startswith("(C) is below 0")]
    assert len(said) == (value < 0)


def test_parameters_without_a_twin_are_no_distance_of_zero() -> None:
    lost = "1 of 2 parameters have no twin in the reference"
    some = Bound(trained_on=500)({**CELLS, "drift": drift(3.0, ("a",), lost)})
    assert f"(A) is of the others alone: {lost}" in warnings(some)
    none = Bound(trained_on=500)({**CELLS, "drift": drift(0.0, ())})
    assert np.isnan(none["proximity"]).all()
    assert np.isnan(none["drift"])
    assert np.isfinite(none["sharpness"]).all()
    assert "(A) is not defined: the reference has none of these parameters" in warnings(none)
