"""The features' measurement: against their kernels, of the head and the texts, and what is stored of samples."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geomlab import api, stats
from geomlab.data.batches import Batches
from geomlab.data.embedded import checkpoint_path
from geomlab.errors import UserError
from geomlab.features import collapse, extraction, similarity
from geomlab.features.canonical import svcca
from geomlab.features.classes import class_means
from geomlab.features.dimension import effective_rank, spectrum
from geomlab.features.discrepancy import class_distances
from geomlab.features.drift import gram_drift_of_classes
from geomlab.features.extraction import extract
from geomlab.features.head import Head, linear_head
from geomlab.features.intervals import jackknifed, with_interval
from geomlab.features.kernel import rbf_cka
from geomlab.features.texts import extract_texts
from geomlab.landscape import directions
from geomlab.measure import FeatureGeometry
from geomlab.measure.features import layer, nearest, projection
from geomlab.measure.features.condition import COMPARED
from geomlab.measure.features.last import LastLayer
from geomlab.measure.features.layer import Views
from geomlab.measure.features.nearest import NUMBERS
from tests import models
from tests.measure.test_measures import OF_MANY, documented

CLIP = api.load(checkpoint_path("zero-shot")).to("cpu", torch.float64)
TUNED = api.load(checkpoint_path("ft")).to("cpu", torch.float64)
LAYERS = CLIP.layers()
FEW = 60


def inputs(*, paired: bool = True) -> Batches:
    """Images of noise, attacked by noise."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(FEW, 3, 16, 16, generator=rng, dtype=torch.float64)
    moved = (images + 0.2 * torch.rand(images.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)
    labels = torch.arange(FEW) % 10
    clean = images if paired else images.flip(0)[:50]
    return Batches(moved, labels, 32, clean, labels if paired else labels.flip(0)[:50], paired)


MOVED = inputs()
FOUND = models.alone(FeatureGeometry(TUNED, k=5), CLIP, MOVED)
HERE, CLEAN = (extract(CLIP, one, LAYERS) for one in (MOVED, MOVED.on_clean()))


def test_shares_of_the_variance_are_of_the_spectrum() -> None:
    shares, errors = FOUND["variance_share"].values, FOUND["variance_share_stderr"].values
    for row, error, x in zip(shares, errors, HERE.values(), strict=True):
        found = spectrum(x)
        kept, width = min(64, len(found)), min(64, x.shape[1])
        np.testing.assert_allclose(row[:kept], found[:kept] / found.sum(), atol=1e-12)
        assert (row[kept:width] == 0).all()
        assert np.isnan(row[width:]).all()
        expected = jackknifed(lambda r, x=x: spectrum(x[r])[0] / spectrum(x[r]).sum(), FEW)
        assert error[0] == pytest.approx(float(expected.stderr))
    assert FOUND["effective_rank"].values[-1] == pytest.approx(
        float(effective_rank(spectrum(HERE["features"])))
    )


def test_copies_of_one_layer_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit features in fp64, of which each layer needs some."""
    copies: list[weakref.ref[torch.Tensor]] = []
    held: list[int] = []

    def counted(features: torch.Tensor) -> torch.Tensor:
        found = extraction.normalised(features)
        copies.append(weakref.ref(found))
        held.append(sum(one() is not None for one in copies))
        return found

    for module in (layer, nearest):
        monkeypatch.setattr(module, "normalised", counted)
    models.alone(FeatureGeometry(TUNED, k=5), CLIP, MOVED)
    assert len(copies) > 3 * len(HERE)
    assert max(held) <= 4  # here, clean, and at perturbed weights for neighbours and for centroids


def test_pairs_of_layers_are_those_of_the_kernel() -> None:
    theirs = extract(TUNED, MOVED, LAYERS)
    for i, x in enumerate(HERE.values()):
        for j, (y, z) in enumerate(zip(CLEAN.values(), theirs.values(), strict=True)):
            assert float(FOUND["rbf_cka_matrix"][i, j]) == pytest.approx(float(rbf_cka(x, y)))
            assert float(FOUND["cka_matrix"][i, j]) == pytest.approx(float(similarity.cka(x, y)))
            assert float(FOUND["reference_cka_matrix"][i, j]) == pytest.approx(float(similarity.cka(x, z)))
    diagonal = np.diag(FOUND["cka_matrix"]), np.diag(FOUND["reference_cka_matrix"])
    np.testing.assert_array_equal(FOUND["cka_to_clean"], diagonal[0])
    np.testing.assert_array_equal(FOUND["reference_cka"], diagonal[1])
    np.testing.assert_array_equal(FOUND["rbf_cka_to_clean"], np.diag(FOUND["rbf_cka_matrix"]))
    assert (FOUND["cka_matrix_stderr"] > 0).all()


def test_numbers_are_those_of_the_kernels() -> None:
    x, y = HERE["features"], CLEAN["features"]
    expected = with_interval(similarity.gram_drift, x, y)
    last = FOUND.sel(layer="features")
    assert float(last["gram_drift"]) == pytest.approx(float(expected.value))
    assert float(last["gram_drift_stderr"]) == pytest.approx(float(expected.stderr))
    drift = gram_drift_of_classes(x, y, MOVED.labels, 10)
    np.testing.assert_allclose(last["class_gram_drift"], drift)
    first = LAYERS[0]
    with pytest.raises(ValueError, match="expected n > "):
        svcca(HERE[first], CLEAN[first])
    assert np.isnan(FOUND["svcca_to_clean"].sel(layer=first))
    assert "svcca_to_clean" in str(FOUND["warnings"].item())


def test_perturbed_weights_are_a_condition_of_their_own() -> None:
    """Where no matrix may move, nothing does; else features do."""
    still = models.alone(FeatureGeometry(k=5, subspace="bias$"), CLIP, MOVED)
    for name, value in {"cka": 1, "gram_drift": 0, "angular": 0, "knn": 1, "centroid_cosine": 1}.items():
        np.testing.assert_allclose(still[f"weights_{name}"], value, atol=1e-6)
        assert (abs(FOUND[f"weights_{name}"] - value) > 1e-3).all()
    np.testing.assert_allclose(still["weights_delta_lid"], 0, atol=1e-9)


def test_the_head_against_the_centroids() -> None:
    head = linear_head(CLIP, MOVED.images[:2])
    assert head is not None
    x, y, labels = HERE["features"], CLEAN["features"], MOVED.labels
    duality = collapse.self_duality(class_means(x, labels, 10), head.weight)
    assert float(FOUND["nc3"]) == pytest.approx(float(duality))
    group = stats.group_of(FEW)
    right = 0
    for i in range(FEW):
        others = torch.from_numpy(group != group[i])
        centres = torch.stack([y[others & (labels == c)].mean(0) for c in range(10)])
        nearest = int((x[i] - centres).norm(dim=1).argmin())
        right += int(head(x[i : i + 1]).argmax()) == nearest
    assert float(FOUND["nc4"]) == pytest.approx(right / FEW)
    low, high = stats.wilson(right, FEW)
    assert (float(FOUND["nc4_low"]), float(FOUND["nc4_high"])) == pytest.approx((low, high))


def test_a_sample_alone_in_its_class_is_not_judged_by_its_own_centroid() -> None:
    """Of one sample a class none can be, of two all are."""
    for each, judged in ((1, 0), (2, 20)):
        labels = torch.arange(20) % (20 // each)
        x = torch.eye(20)[labels].double() + 0.01 * torch.rand(20, 20, dtype=torch.float64)
        view = Views(x, x, x, labels, labels, True, 5, torch.arange(20))
        head = Head(torch.eye(20).double(), torch.zeros(20).double())
        right, known = LastLayer(view, head, None, None)._agreements(head)
        assert int(known.sum()) == int(right.sum()) == judged


def test_shifts_are_over_the_same_norm() -> None:
    last, labels = FOUND.sel(layer="features"), MOVED.labels
    step = directions.adversarial(CLIP, MOVED, list(CLIP.weights), rho=0.05)
    there = CLIP.at({name: weight + step[name] for name, weight in CLIP.weights.items()})
    bent, x, y = extract(there, MOVED, [])["features"], HERE["features"], CLEAN["features"]
    for name, moved in {"weight_shift": bent - x, "input_shift": x - y}.items():
        shares = []
        for c in range(10):
            f, g = moved[labels == c], y[labels == c]
            length, norm = (s.mean(0).square().sum() - s.var(0).sum() / len(s) for s in (f, g))
            shares.append(length.sign() * (length.abs() / norm).sqrt())
        assert float(last[name]) == pytest.approx(float(torch.stack(shares).mean()))


def test_classes_have_the_terms_of_the_lemma() -> None:
    apart = class_distances(
        *(F.normalize(CLEAN["features"], dim=1), MOVED.labels),
        *(F.normalize(HERE["features"], dim=1), MOVED.labels, 10),
        paired=True,
    )
    np.testing.assert_allclose(FOUND["class_mean_distance"], apart.mean)
    np.testing.assert_allclose(FOUND["class_covariance_distance"], apart.covariance)
    squares = float((FOUND["sample_gram_drift"] ** 2).sum())
    assert squares == pytest.approx(float(FOUND["gram_drift"].sel(layer="features")) ** 2)


def test_few_samples_have_a_reason_and_it_is_the_right_one() -> None:
    rows = torch.arange(5)
    few = MOVED.take(rows)
    said = str(models.alone(FeatureGeometry(TUNED, k=5), CLIP, few)["warnings"].item())
    assert "5 samples are too few for similarities" in said
    assert "LID is not defined" in said
    for name in ("weights_cka", "rbf_cka_to_clean", "weights_knn"):
        assert name not in said
    assert "input_shift, weight_shift, discrepancy not defined" in said or "too few samples a class" in said


def test_the_gap_between_images_and_texts() -> None:
    assert CLIP.text is not None
    texts = F.normalize(extract_texts(CLIP.text, CLIP.text.prompts())["features"], dim=1).mean(0)
    here, clean = (F.normalize(side["features"], dim=1).mean(0) for side in (HERE, CLEAN))
    gap = float((here - texts).norm())
    assert float(FOUND["modality_gap"]) == pytest.approx(gap)
    assert float(FOUND["modality_gap_change"]) == pytest.approx(gap - float((clean - texts).norm()))
    assert float(FOUND["modality_shift"]) == pytest.approx(float((here - clean).norm()))


@pytest.mark.parametrize("name", COMPARED)
def test_left_out_groups_give_the_error(name: str) -> None:
    last = FOUND.sel(layer="features")
    error = float(stats.jackknife_error(last[f"{name}_left_out"].values))
    stored = float(last[f"{name}_stderr"])
    if name == "cka_to_clean":  # of which what is counted twice is taken off
        assert 0.7 * error < stored <= error
    elif name == "gram_volume":  # of single samples, not of groups
        assert stored == pytest.approx(error, rel=0.5)
    else:
        assert stored == pytest.approx(error)


def test_samples_are_stored_with_their_projection() -> None:
    np.testing.assert_allclose(FOUND["sample_features"], HERE["features"], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(FOUND["sample_label"], MOVED.labels)
    volume = FOUND["sample_gram_volume"]
    assert float(volume.mean()) == pytest.approx(float(FOUND["gram_volume"].sel(layer="features")))
    centred = CLEAN["features"] - CLEAN["features"].mean(0)
    _, s, axes = torch.linalg.svd(centred, full_matrices=False)
    shown = (HERE["features"] - CLEAN["features"].mean(0)) @ axes[:3].T
    np.testing.assert_allclose(abs(FOUND["projection"]), shown.abs(), atol=1e-8)
    np.testing.assert_allclose(FOUND["projection_variance"], (s**2 / (s**2).sum())[:3], atol=1e-8)
    for number in range(10):
        at = MOVED.labels == number
        mean = FOUND["projection"].values[at].mean(0)
        np.testing.assert_allclose(FOUND["class_projection"][number], mean, atol=1e-12)
    assert list(FOUND["class_name"].values) == list(CLIP.classes or ())


def test_a_projection_is_the_same_for_all_conditions() -> None:
    clean = models.alone(FeatureGeometry(k=5), CLIP, MOVED.on_clean())
    np.testing.assert_array_equal(clean["projection_variance"], FOUND["projection_variance"])
    np.testing.assert_allclose(clean["class_projection"], FOUND["clean_class_projection"], atol=1e-12)


def test_other_samples_than_the_clean_ones() -> None:
    found = models.alone(FeatureGeometry(k=5), CLIP, inputs(paired=False))
    for name in ("cka_matrix", "cka_to_clean", "class_gram_drift"):
        assert np.isnan(found[name]).all()
    assert "sample_gram_volume" not in found
    assert {str(one) for one in found if str(one).endswith("_left_out")} == {
        f"{name}_left_out"
        for name in (
            "class_separation",
            "participation_ratio",
            "effective_rank",
            "uniformity",
        )
    }
    for name in ("nc3", "nc4", "modality_gap_change", "modality_gap_change_stderr", "weights_cka"):
        assert np.isfinite(found[name]).all()


def test_of_many_samples_an_index_finds_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so few it finds them all, and what is checked is all of them."""
    monkeypatch.setattr("geomlab.features.index.LEAST", FEW)
    found = models.alone(FeatureGeometry(TUNED, k=5), CLIP, MOVED)
    for name in NUMBERS:
        np.testing.assert_allclose(found[name], FOUND[name], rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(found[f"{name}_exact"], found[name], rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found["index_recall"], 1)
    assert {str(one) for one in found if OF_MANY.search(str(one))} == {
        one for one in documented("features") if OF_MANY.search(one)
    }
    assert "nearest neighbours by an index" in str(found["warnings"].item())


def test_umap_beside_pca() -> None:
    wanted = FeatureGeometry(TUNED, k=5, projection="umap")
    threads = torch.get_num_threads()
    once, again = (models.alone(wanted, CLIP, MOVED) for _ in range(2))
    assert torch.get_num_threads() == threads
    of_many = {one for one in documented("features") if OF_MANY.search(one)}
    assert set(once.data_vars) == documented("features") - of_many | {"warnings"}
    assert once["umap"].shape == (FEW, 2)
    np.testing.assert_array_equal(once["umap"], again["umap"])


def test_without_the_library_umap_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(projection.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"--projection umap needs umap-learn .*geomlab\[umap\]"):
        FeatureGeometry(projection="umap").check(CLIP, MOVED)


def test_a_tile_gives_back_what_it_was_given() -> None:
    kept = models.Kept()
    wanted = FeatureGeometry(TUNED, k=5)
    first, second = (wanted.together(CLIP, {"a": MOVED}, MOVED, kept)["a"] for _ in range(2))
    assert first.identical(second)
    assert list(kept.arrays) == [("a", 0)]


@pytest.mark.parametrize("pooling", ["class", "none"])
def test_tokens_pooled_otherwise(pooling: str) -> None:
    found = models.alone(FeatureGeometry(k=5, pooling=pooling), CLIP, MOVED)
    pair = (extract(CLIP, one, LAYERS, pooling=pooling)[LAYERS[1]] for one in (MOVED, MOVED.on_clean()))
    assert float(found["cka_to_clean"][1]) == pytest.approx(float(similarity.cka(*pair)))
    assert str(found["pooling"].item()) == pooling


def test_files_in_half_precision_change_numbers_a_little() -> None:
    wanted = FeatureGeometry(k=5, memory=0)
    whole, half = (models.alone(one, CLIP, MOVED) for one in (wanted, replace(wanted, on_disk="float16")))
    for name in ("cka_to_clean", "gram_drift", "lid"):
        assert (whole[name] != half[name]).any()
        np.testing.assert_allclose(whole[name], half[name], rtol=0.02)
