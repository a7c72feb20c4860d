"""Each measurement gives exactly what results/FORMAT.md lists."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from geomlab import params
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.trace import Traces, traces
from geomlab.measure import (
    Accuracy,
    Curvature,
    Drift,
    FeatureGeometry,
    Joint,
    Landscape,
    Measurement,
    Paths,
    Single,
)
from geomlab.measure.curvature.findings import splits
from geomlab.measure.curvature.warn import sentences
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

SUBJECT = models.subject(models.convolution())
MOVED = SUBJECT.at({name: weight * 1.1 for name, weight in SUBJECT.weights.items()})
INPUTS = models.batches(40, 16)
MEASUREMENTS: dict[str, Measurement] = {
    "accuracy": Accuracy(),
    "curvature": Curvature(k=4, probes=5, reference=MOVED, eigensolver="pyhessian"),
    "landscape": Landscape(line_points=5, plane="adaptive", trajectory=(MOVED,)),
    "paths": Paths(MOVED, ("linear", "bezier:steps=3,cka=yes"), count=5),
    "features": FeatureGeometry(MOVED, k=5),
    "drift": Drift(MOVED),
}


OF_MANY = re.compile(r"_exact|index_recall")


def measure(name: str, subject: Subject = SUBJECT) -> xr.Dataset:
    measurement = MEASUREMENTS[name]
    if isinstance(measurement, Single):
        return measurement(subject, INPUTS, generator(0, name))
    assert isinstance(measurement, Joint)
    return models.alone(measurement, subject, INPUTS)


def documented(name: str) -> set[str]:
    """The variables of a section of FORMAT.md."""
    text = (files("geomlab.results") / "FORMAT.md").read_text(encoding="utf-8")
    section = re.search(rf"^\*\*{name}\*\*.*?(?=^\*\*|^## )", text, re.DOTALL | re.MULTILINE)
    assert section
    found: set[str] = set()
    errors = False  # whether all of a table have one
    for row in section[0].splitlines():
        if row.startswith("| variable"):
            errors = "each with" in row
        elif row.startswith("|") and not row.startswith("|---"):
            words = row.split("|")[1]
            names = re.findall(r"\b[a-z][a-z0-9_]*\b", words.replace("each with _stderr", ""))
            both = errors or "each with" in words
            found |= set(names) | ({f"{one}_stderr" for one in names} if both else set())
    return found


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_gives_what_the_format_says(name: str) -> None:
    optional = {
        one
        for one in documented(name)
        if one.startswith(("modality", "umap", "class_name")) or OF_MANY.search(one)
    }
    assert set(measure(name).data_vars) == documented(name) - optional | {"warnings"}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_repeats_itself_and_leaves_global_randomness_alone(name: str) -> None:
    state = torch.get_rng_state()
    first, again = measure(name), measure(name)
    times = ["seconds", "pyhessian_seconds"]
    xr.testing.assert_identical(*(one.drop_vars(times, errors="ignore") for one in (first, again)))
    assert torch.equal(state, torch.get_rng_state())
    assert json.loads(str(first["warnings"].item())) == []


def test_layer_traces_add_up_and_the_line_passes_through_the_loss() -> None:
    curvature, accuracy, landscape = (measure(name) for name in ("curvature", "accuracy", "landscape"))
    assert float(curvature["layer_trace"].sum()) == pytest.approx(float(curvature["trace"]))
    assert int(curvature["layer_dim"].sum()) == int(curvature["dim"])
    assert float(curvature["loss"]) == pytest.approx(float(accuracy["mean_loss"]))
    assert float(landscape["line_loss"].sel(step=0)) == pytest.approx(float(accuracy["mean_loss"]))
    np.testing.assert_allclose(
        landscape["plane_loss"].sel(beta=0, alpha=0.5), landscape["line_loss"].sel(step=0.5)
    )


def test_drift_is_the_relative_distance() -> None:
    assert float(measure("drift")["relative"]) == pytest.approx(0.1 / 1.1)
    assert np.nanmax(np.abs(measure("drift")["layer_relative"] - 0.1 / 1.1)) < 1e-9


def test_a_network_against_itself() -> None:
    found = models.alone(FeatureGeometry(SUBJECT, k=5), SUBJECT, INPUTS)
    for name, value in {"cka_to_clean": 1, "gram_drift": 0, "centroid_cosine": 1, "delta_lid": 0, "gram_volume": 0,
                        "reference_cka": 1, "reference_gram_drift": 0, "reference_procrustes": 0}.items():  # fmt: skip
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_inputs_that_are_not_the_clean_ones_seen_anew() -> None:
    other = replace(INPUTS, clean=INPUTS.images[:30].flip(3), clean_labels=INPUTS.labels[:30], paired=False)
    found = models.alone(FeatureGeometry(k=5), SUBJECT, other)
    for name in ("cka_to_clean", "gram_drift", "gram_volume"):
        assert np.isnan(found[name]).all()
    for name in ("centroid_cosine", "lid", "delta_lid", "centroid_cosine_stderr", "delta_lid_stderr"):
        assert np.isfinite(found[name]).all()
    assert "not the clean samples" in str(found["warnings"].item())


def test_a_density_that_memory_cut_short_says_so() -> None:
    found = Curvature(k=1, probes=2, density=(2, 9), memory=1)(SUBJECT, INPUTS, generator(0, "c"))
    assert "the spectral density has 2 steps, not 9" in str(found["warnings"].item())
    whole = Curvature(k=1, probes=2, density=(2, 9))(SUBJECT, INPUTS, generator(0, "c"))
    assert "spectral density has" not in str(whole["warnings"].item())


def test_too_few_samples_say_so() -> None:
    found = models.alone(FeatureGeometry(k=20), SUBJECT, models.batches(6, 6))
    assert np.isnan(found["cka_to_clean"]).all()
    assert "LID uses k = 2 instead of 20" in str(found["warnings"].item())
    assert "6 samples are too few" in str(found["warnings"].item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_that_vary_by_rounding_are_constant(dtype: torch.dtype) -> None:
    flatten, head = models.softmax_regression()
    network = torch.nn.Sequential(flatten, torch.nn.Linear(head.in_features, 20), torch.nn.Linear(20, 3))
    subject = models.subject(network, dtype)
    faint = {"1.weight": 3e-8 * subject.weights["1.weight"], "1.bias": torch.ones(20, dtype=dtype)}
    subject = subject.at(faint)
    found = models.alone(FeatureGeometry(subject, k=5), subject, models.batches(40, 16, dtype))
    for name in ("cka_to_clean", "gram_drift", "reference_procrustes", "lid", "delta_lid"):
        defined = dtype == torch.float64  # which tells 1 + 3e-8 from 1
        assert bool(np.isfinite(found[name].sel(layer="1"))) == defined
        said = rf'\b{name}\b[^"]* not defined in 1, 2, features: constant'
        assert bool(re.search(said, str(found["warnings"].item()))) != defined
    assert float(found["centroid_cosine"].sel(layer="1")) == pytest.approx(1)


def test_eigenvalues_that_did_not_converge_say_so() -> None:
    found = Curvature(k=6, probes=2, max_products=6, tolerance=1e-12)(SUBJECT, INPUTS, generator(0, "c"))
    assert str(found["status"].item()).startswith("not converged")
    assert "raise the budget" in str(found["warnings"].item())
    assert not found["converged"].values.all()


def test_a_smallest_eigenvalue_that_did_not_converge_says_so() -> None:
    """The iteration waits for the largest only; with as many products as dimensions nothing is left to wait for."""
    dim = sum(weight.numel() for weight in SUBJECT.weights.values())
    short, whole = (
        Curvature(k=k, probes=2, max_products=dim, tolerance=3e-2)(SUBJECT, INPUTS, generator(0, "c"))
        for k in (1, dim)
    )
    sentence = "the smallest eigenvalue has not converged: λmin is at most what is shown"
    assert short["status"].item() == whole["status"].item() == "converged"
    assert (int(short["smallest_converged"]), int(whole["smallest_converged"])) == (0, 1)
    assert sentence in json.loads(str(short["warnings"].item()))[0]
    assert sentence not in str(whole["warnings"].item())
    assert float(short["smallest_eigenvalue"]) > float(whole["smallest_eigenvalue"])


def test_the_residual_that_is_warned_of_belongs_to_a_pair_that_did_not_converge() -> None:
    """A zero to rounding has converged at a relative residual of 600."""
    values, residuals = torch.tensor([[2.0, 1.0, 1e-18], [1e-9, 0.03, 6e-16]], dtype=torch.float64)
    converged = torch.tensor([True, False, True])
    vectors = torch.eye(3, dtype=torch.float64)
    top = Eigenpairs(values, vectors, vectors, residuals, converged, "not converged: 1 of 3", 9)
    bottom = Eigenpairs(
        values[2:], vectors[:, 2:], vectors[:, 2:], residuals[2:], converged[2:], "converged", 1
    )
    assert sentences(top, bottom, 3, k=3, probes=2, undefined=[]) == [
        "eigenvalues not converged: 1 of 3 (largest relative residual of those 3.0e-02); raise the budget"
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eigenvalues_that_are_zero_to_rounding_have_no_ratio(dtype: torch.dtype) -> None:
    """Of two samples in three classes at most four eigenvalues of a softmax regression are not zero."""
    subject, few = models.subject(models.softmax_regression(), dtype), models.batches(2, 2, dtype)
    for k in (5, 6, 7, 8):  # the zeros come with either sign
        found = Curvature(k=k, probes=2)(subject, few, generator(0, "c"))
        assert found["status"].item() == "converged"
        assert float(found["residual"][-1]) > 1
        assert np.isnan(found["anisotropy"].sel(quantity="lambda1_over_lambdak"))
        assert "lambda1_over_lambdak not defined" in str(found["warnings"].item())


@pytest.mark.parametrize("scale", [0, 1])
def test_a_subspace_of_vectors_gives_a_flat_slice_and_says_so(scale: int) -> None:
    subject = SUBJECT.at(
        {name: scale * SUBJECT.weights[name] for name in params.select(SUBJECT.weights, "bias$")}
    )
    flat = models.alone(Landscape("bias$", line_points=3, plane_points=3), subject, INPUTS)
    assert np.ptp(flat["line_loss"].values) == np.ptp(flat["plane_loss"].values) == 0
    assert json.loads(str(flat["warnings"].item())) == [
        "--params 'bias$' selects no matrix that is not zero, and only matrices move, by their own norm: "
        "the slice is flat by construction"
    ]


def test_a_subspace_of_vectors_bends_no_features_and_says_so() -> None:
    seen = replace(INPUTS, clean=INPUTS.images.flip(3))
    flat = models.alone(FeatureGeometry(k=5, subspace="bias$"), SUBJECT, seen)
    np.testing.assert_allclose(flat["gram_volume"], 0, atol=1e-6)
    assert json.loads(str(flat["warnings"].item())) == [
        "--params 'bias$' selects no matrix with a gradient, and only matrices move, by their own norm: "
        "Gram volume's third vector equals its second, and the volume is 0 by construction"
    ]
    bent = models.alone(FeatureGeometry(k=5), SUBJECT, seen)
    assert float(bent["gram_volume"].max()) > 1e-3
    assert json.loads(str(bent["warnings"].item())) == []


def test_a_subspace_of_few_dimensions_has_few_eigenvalues() -> None:
    found = Curvature("4.bias", k=5, probes=2)(SUBJECT, INPUTS, generator(0, "c"))
    assert found.sizes["eigen"] == 3
    assert "only 3 eigenvalues" in str(found["warnings"].item())


@pytest.mark.parametrize(("subspace", "k", "columns"), [("full", 3, 4), ("4.bias", 3, 3)])
def test_the_traces_deflate_top_and_bottom(
    subspace: str, k: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def spy(*args: Any, vectors: torch.Tensor, **kwargs: Any) -> Traces:
        seen.append(vectors)
        return traces(*args, vectors=vectors, **kwargs)

    monkeypatch.setattr("geomlab.measure.curvature.findings.traces", spy)
    Curvature(subspace, k=k, probes=2)(SUBJECT, INPUTS, generator(0, "c"))
    (vectors,) = seen
    assert vectors.shape[1] == columns
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(columns, dtype=torch.float64))


@pytest.mark.parametrize("matrix", ["gauss-newton", "finite-difference"])
def test_other_matrices(matrix: str) -> None:
    hessian = measure("curvature")
    other = Curvature(k=4, probes=5, matrix=matrix)(SUBJECT, INPUTS, generator(0, "curvature"))
    same = np.allclose(other["eigenvalue"], hessian["eigenvalue"], rtol=1e-3)
    assert same == (matrix == "finite-difference")
    if matrix == "gauss-newton":
        assert float(other["smallest_eigenvalue"]) > -1e-9
    assert ("differences of gradients, off by up to" in str(other["warnings"].item())) == same
    assert other["inputs"].item() == "held fixed"


@pytest.mark.parametrize(("n", "parts"), [(7, []), (8, [2]), (16, [2, 4]), (31, [2, 4]), (32, [2, 4, 8])])
def test_samples_are_split_into_parts_of_four_at_least(n: int, parts: list[int]) -> None:
    assert splits((2, 4, 8), n) == parts
