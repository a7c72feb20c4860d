import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from geomlab.report.summary import summarise
from geomlab.report.tabulate import tabulate
from geomlab.report.words import describe
from geomlab.results import Results
from geomlab.results.store import _join
from geomlab.results.terms import common_sigma
from geomlab.tables import Cell
from tests.synthetic import bound

CONDITIONS = ("clean", "pgd", "domain:sketch")
SWEPT: dict[str, Any] = {"trained_on": (100, 10_000, 1_000_000), "known": False}


def with_bound(one: Results, cell: xr.Dataset) -> Results:
    """Results of one checkpoint, with another bound."""
    return Results(Path(), one.manifests, {**one.data, "bound": _join({one.checkpoints[0]: {"": cell}})})


def test_a_row_has_the_terms_with_their_errors_and_what_they_are_of(one: Results) -> None:
    table = tabulate(with_bound(one, bound(CONDITIONS, 1.0)))["bound"]
    (row,) = table.rows
    found = dict(zip(table.columns, row, strict=True))
    sigma = math.sqrt(4.2 / math.sqrt(1000 * 366))
    assert found["n"] == "1,000"
    assert (found["under"], found["between"]) == ("pgd", "clean – pgd")
    assert {name: (entry.value, entry.error) for name, entry in found.items() if isinstance(entry, Cell)} == {
        "clean loss": (0.15, 0.01),
        "‖θ − θ₀‖": (4.2, None),
        "Tr H": (pytest.approx(366), pytest.approx(10.98)),
        "distance": (5.0, 0.25),
        "σ": (pytest.approx(sigma), None),
        "(A)": (pytest.approx(4.2**2 / (2000 * sigma**2)), None),
        "(B)": (pytest.approx(183 * sigma**2), pytest.approx(5.49 * sigma**2)),
        "(C)": (5.0, 0.25),
    }
    assert found["largest"] == "(C)"
    assert "At the σ where (A) + (B) is least." in table.caption
    assert "swept" not in table.caption
    assert "no certificate" in table.caption


def test_the_largest_term_over_sigma_and_lipschitz(one: Results) -> None:
    rows = tabulate(with_bound(one, bound(CONDITIONS, 1.0)))["bound_leading"].rows
    assert rows[0] == ("1,000", "0.01", "(A)", "(A)", "(A) ≈ (B)", "(B)", "(B)")
    assert rows[-1] == ("1,000", "100", "(A)", "(C)", "(C)", "(C)", "(B)")


def test_of_several_checkpoints_all_are_at_one_sigma(two: Results) -> None:
    """A prior that is chosen for each network after it is seen would make (A) and (B) alike in all."""
    cells = {"ft": bound(CONDITIONS, 1.0, **SWEPT), "grace": bound(CONDITIONS[:2], 4.0)}
    names = dict(zip(cells, two.manifests.values(), strict=True))
    results = Results(Path(), names, {"bound": _join({name: {"": cell} for name, cell in cells.items()})})
    tables = tabulate(results)
    assert [row[:2] for row in tables["bound"].rows] == [
        ("ft", "(100)"), ("ft", "(10,000)"), ("ft", "(1,000,000)"), ("grace", "1,000")
    ]  # fmt: skip
    sigmas = [row[8].value for row in tables["bound"].rows]
    parts = list(cells.values())
    assert sigmas == pytest.approx([common_sigma(parts, i) for i in (0, 1, 2, 0)])
    assert "At the geometric mean over checkpoints of the σ where" in tables["bound"].caption
    assert "n in brackets is not known, and swept" in tables["bound"].caption
    assert [row[:2] for row in tables["bound_distances"].rows] == [
        ("ft", "clean – pgd"), ("ft", "clean – domain:sketch"), ("ft", "pgd – domain:sketch"), ("grace", "clean – pgd")
    ]  # fmt: skip


def test_the_summary_has_every_constant_by_name(one: Results) -> None:
    cell = bound(CONDITIONS, 1.0, **SWEPT)
    found = summarise(with_bound(one, cell))["bound"]
    assert found["constants"] == {
        "joint_error": 0.0,
        "lipschitz": [0.01, 0.1, 1.0, 10.0, 100.0],
        "trained_on": [100, 10_000, 1_000_000],
        "trained_on_known": False,
    }
    assert found["traces"]["pgd"] == {"value": pytest.approx(366), "stderr": pytest.approx(10.98)}
    assert found["distances"]["clean – pgd"] == {"value": 5.0, "stderr": 0.25, "paired": True, "classes": 10}
    assert [at["n"] for at in found["at"]] == [100, 10_000, 1_000_000]
    assert [at["largest"] for at in found["at"]] == [["(C)"]] * 3
    assert found["over_sigma"]["proximity"] == cell["proximity"].values.tolist()
    assert found["over_lipschitz"]["discrepancy"] == cell["discrepancy"].values.tolist()
    json.dumps(found, allow_nan=False)


def test_a_term_that_is_not_defined_is_null_and_named(one: Results) -> None:
    lost = bound(CONDITIONS[:1], 1.0)
    results = with_bound(one, lost.assign(discrepancy_stderr=np.nan * lost["discrepancy_stderr"]))
    summary = summarise(results)
    assert summary["bound"]["at"][0]["discrepancy"] is None
    assert summary["bound"]["farthest"] is None
    assert (
        "bound.over_lipschitz.discrepancy: 5 numbers are not finite, written as null" in summary["warnings"]
    )
    table = tabulate(results)["bound"]
    assert table.rows[0][-1] == "not defined"
    assert "bound_distances" not in tabulate(results)
    assert "a term is not defined, at n = 1,000 with (A)" in describe(results)[-1]


@pytest.mark.parametrize(
    ("quality", "sharper", "said"),
    [
        (
            1.0,
            1.0,
            "(C) is the largest, at n = 1,000 with (A) 1.270, (B) 1.270 ± 0.038, (C) 5.00 ± 0.25: the features of two "
            "conditions lie far apart, clean – pgd. That is no",
        ),
        (30.0, 1.0, "(A) and (B) are the largest, at n = 1,000"),
        (30.0, 9.0, "the loss is sharp, most so under pgd. That is no"),
        (30.0, 0.1, "(A) is the largest, at n = 1,000"),
    ],
)
def test_a_sentence_says_which_term_is_largest_and_that_it_is_no_certificate(
    one: Results, quality: float, sharper: float, said: str
) -> None:
    cell = bound(CONDITIONS, quality)
    (sentence,) = describe(with_bound(one, cell.assign(sharpness=sharper * cell["sharpness"])))[-1:]
    assert said in sentence
    assert "That is no certificate: L_f, λ* and a σ chosen beforehand are not known." in sentence


def test_of_swept_samples_a_sentence_says_for_which(one: Results) -> None:
    sentence = describe(with_bound(one, bound(CONDITIONS, 2.0, **SWEPT)))[-1]
    assert "(A) and (B) are the largest, at n = 100 with" in sentence
    assert "; (C) is the largest, at n = 10,000 with" in sentence
    assert "and at n = 1,000,000 with" in sentence
    assert sentence.endswith("n, the samples of training, is not known either, and swept.")
