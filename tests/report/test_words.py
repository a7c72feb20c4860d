from pathlib import Path

import numpy as np

from geomlab.report.words import describe, listed
from geomlab.results import Results, open_results
from tests.synthetic import write_folder


def test_sharpness_is_said_with_its_residual_and_against_clean(one: Results) -> None:
    values = one["curvature"]["eigenvalue"].sel(checkpoint="grace-s0").isel(eigen=0)
    clean, pgd = (float(values.sel(condition=name)) for name in ("clean", "pgd"))
    sentence = next(s for s in describe(one) if "λmax" in s)
    assert f"λmax of the Hessian is {clean:.3g} on clean inputs (relative residual " in sentence
    assert f"{pgd / clean:.3g} times sharper (its spectrum did not converge)" in sentence


def test_features_are_said_with_their_error(one: Results) -> None:
    sentence = next(s for s in describe(one) if s.startswith("Under pgd"))
    assert "Under pgd the features keep a CKA of 0.472 ± 0.011 to clean" in sentence


def test_drift_and_reference_are_said_only_with_a_reference(one: Results, tmp_path: Path) -> None:
    assert any("9.3 % of its norm" in s for s in describe(one))
    alone = describe(open_results(write_folder(tmp_path, conditions=["clean", "pgd"], reference=False)))
    assert not any("reference" in s for s in alone)


def test_nothing_is_said_of_what_was_not_measured(tmp_path: Path) -> None:
    sentences = describe(open_results(write_folder(tmp_path, measurements=["accuracy"], reference=False)))
    assert len(sentences) == 1
    assert sentences[0].startswith("Accuracy is ")


def test_the_width_of_the_basin_is_said_and_where_it_is_only_a_bound(one: Results) -> None:
    sentence = next(s for s in describe(one) if s.startswith("Along d₀"))
    assert (
        "(random, filter-normalised) the loss is at most 0.1 nats above the network's over a distance"
        in sentence
    )
    width = float(one["landscape"]["width"].sel(checkpoint="grace-s0", condition="clean"))
    assert f" {width:.2f} [{0.9 * width:.2f}, {1.1 * width:.2f}] on clean inputs, " in sentence
    open_ended = one["landscape"].copy(deep=True)
    open_ended["width_high"] = open_ended["width_high"] + np.inf
    results = Results(one.folder, one.manifests, {"landscape": open_ended})
    assert f"at least {width:.3g} on clean inputs" in describe(results)[0]


def test_lists() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_how_sure_lambda_max_is_and_what_is_shared_is_said(one: Results) -> None:
    sentences = describe(one)
    clean = one["curvature"].sel(checkpoint="grace-s0", condition="clean")
    sure = next(
        s for s in sentences if s.startswith("Another draw of as many clean samples would move λmax: ")
    )
    assert f"{float(clean['part_eigenvalue'].sel(part=2)):.3g}"[:3] in sure
    shared = next(s for s in sentences if s.startswith("Of the top eigenspace on clean inputs "))
    assert "under pgd" in shared
    assert f"two halves of the clean samples share {float(clean['halves_overlap']):.2g}" in shared


def test_how_high_paths_rise_is_said(one: Results) -> None:
    (sentence,) = (s for s in describe(one) if "rises above the straight line" in s)
    assert sentence.startswith("From the reference, zero-shot, to this network the loss rises")
    assert "in nats: linear 2.00 [1.80, 2.20] on clean inputs, 12.0 [10.8, 13.2] under pgd" in sentence
    assert "; bezier:steps=200 0.100 [0.090, 0.110] on clean inputs" in sentence


def test_what_the_checks_of_attacks_say(one: Results) -> None:
    (sentence,) = (s for s in describe(one) if s.startswith("Sanity checks"))
    assert sentence == (
        "Sanity checks against masked gradients: of pgd 4 of 4 hold; of fgsm “accuracy falls to 0 with the radius” "
        "and “a black-box attack is not stronger” fail."
    )


def test_checks_that_were_not_made_are_said(one: Results) -> None:
    data = one["sanity"].copy(deep=True)
    data["verdict"].loc[{"condition": "fgsm"}] = "not tested"
    data["verdict"].loc[{"condition": "pgd", "check": "noise"}] = "undecided"
    changed = Results(one.folder, one.manifests, {**one.data, "sanity": data})
    (sentence,) = (s for s in describe(changed) if s.startswith("Sanity checks"))
    assert sentence.endswith("of pgd 3 of 4 hold (1 undecided); of fgsm none was made.")
