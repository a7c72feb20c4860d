import io
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from geomlab.report import feature_tables
from geomlab.report.entries import largest, ratio
from geomlab.report.summary import summarise
from geomlab.report.summary_table import summary_table
from geomlab.report.tabulate import tabulate
from geomlab.results import Results
from geomlab.results.features import class_names
from geomlab.tables import Cell
from tests.synthetic import BLOCK_LAYERS, CONDITIONS, GLYPHS, LAYERS


def test_all_tables_of_a_full_folder(one: Results) -> None:
    tables = tabulate(one)
    rows = {name: len(table.rows) for name, table in tables.items()}
    names = "accuracy curvature anisotropy sharpness samples eigenspaces slices features reference"
    five = dict.fromkeys(names.split(), 5)
    assert rows == five | {
        **{
            "layers": len(LAYERS),
            **{
                f"features_{name}": 5 * len(BLOCK_LAYERS)
                for name in ("layers", "similarity", "classes", "dimensions", "weights")
            },
            "class_cosines": 50,
            "drift": 1 + len(LAYERS),
            "bound": 1,
            "bound_leading": 5,
            "bound_distances": 10,
            "overlap": 10,
            "slices_curvature": 10,
            "trajectory": 3,
            "paths": 10,
            "sanity": 8,
            "sanity_accuracy": 2 * 11 - 1,
        }
    }


def test_the_networks_of_a_trajectory_are_in_the_order_given(one: Results) -> None:
    rows = tabulate(one)["trajectory"].rows
    assert [row[:2] for row in rows] == [("1", "start"), ("2", "half"), ("3", "far")]
    assert [row[-1].value for row in rows] == pytest.approx([0.5, 5e-10, 0.05 / 9])
    waypoints = summarise(one)["landscape"]["clean"]["trajectory"]
    assert waypoints[0] == {"name": "start", "steps": [0.9, -0.6], "distance": 4.0, "off_plane": 2.0}


def test_a_comparison_says_which_checkpoint(two: Results) -> None:
    tables = tabulate(two)
    pairs = tables.pop("overlap")
    assert all(table.columns[0] == "checkpoint" for table in tables.values())
    assert {entry.split(", ")[0] for row in pairs.rows for entry in map(str, row[:2])} == set(two.checkpoints)


def test_the_largest_eigenvalue_carries_its_residual(one: Results) -> None:
    cell = one["curvature"].sel(checkpoint="grace-s0", condition="clean")
    top = largest(cell)
    assert top.value == cell["eigenvalue"][0].item()
    assert top.error == pytest.approx(top.value * cell["residual"][0].item())


def test_the_status_is_of_both_ends(one: Results) -> None:
    """Of clean, all has converged; of pgd, neither end; of a third, only the smallest has not."""
    data = dict(one.data)
    smallest = data["curvature"]["smallest_converged"].copy()
    smallest.loc[{"condition": "domain:sketch"}] = 0
    data["curvature"] = data["curvature"].assign(smallest_converged=smallest)
    changed = replace(one, data=data)
    status = {row[0]: row[-1] for row in tabulate(changed)["curvature"].rows}
    assert status["clean"] == "converged"
    assert status["pgd"] == "2 of 10 eigenvalues above the tolerance of 0.01; λmin neither"
    assert status["domain:sketch"] == "λmin not converged"
    told = {name: found["smallest_status"] for name, found in summarise(changed)["curvature"].items()}
    assert (told["clean"], told["pgd"], told["domain:sketch"]) == ("converged", *["not converged"] * 2)


def test_ratios_propagate_errors_to_first_order() -> None:
    found = ratio(Cell(6.0, 0.3, 10), Cell(2.0, 0.08, 20))
    assert found.value == 3.0
    assert found.error == pytest.approx(3 * math.hypot(0.05, 0.04))
    assert math.isnan(ratio(Cell(1.0, 0.1), Cell(0.0, 0.1)).value)


@pytest.mark.parametrize("fixture", ["one", "two"])
def test_the_summary_fits_a_terminal_of_120_columns(fixture: str, request: pytest.FixtureRequest) -> None:
    table = summary_table(request.getfixturevalue(fixture))
    out = io.StringIO()
    Console(width=120, file=out).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    numbers = [line for line in lines if line.rstrip().endswith(" 300")]
    assert len(numbers) == len(table.rows)
    assert all("±" in line for line in numbers)


def test_the_summary_has_a_row_a_condition(one: Results) -> None:
    assert [row[0] for row in summary_table(one).rows] == list(CONDITIONS)


def test_how_sure_lambda_max_is_over_samples(one: Results) -> None:
    found = one["curvature"].sel(checkpoint="grace-s0", condition="clean")
    table = tabulate(one)["samples"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    whole, half = row["λmax over samples"], row["λmax of n/2"]
    assert isinstance(whole, Cell)
    assert isinstance(half, Cell)
    assert (whole.value, whole.error) == (
        found["eigenvalue"].values[0],
        (found["eigenvalue_low"].values[0], found["eigenvalue_high"].values[0]),
    )
    assert (half.value, half.error) == (
        float(found["part_eigenvalue"].sel(part=2)),
        float(found["part_eigenvalue_stderr"].sel(part=2)),
    )


def test_overlaps_are_those_of_the_sketches(one: Results) -> None:
    table = tabulate(one)["overlap"]
    row = next(row for row in table.rows if (row[0], row[1]) == ("clean", "pgd"))
    spaces = [
        np.linalg.qr(one["curvature"].sel(checkpoint="grace-s0", condition=c)["eigenvector_sketch"].values)[0]
        for c in ("clean", "pgd")
    ]
    shared = row[table.columns.index("shared")]
    assert isinstance(shared, Cell)
    assert shared.value == pytest.approx(np.linalg.norm(spaces[0].T @ spaces[1]) ** 2 / 10)


def test_results_from_before_have_no_such_tables(one: Results) -> None:
    new = ["part_n", "eigenvector_sketch", "sharpness", "gradient_energy", "pyhessian_verdict"]
    old = replace(one, data={**one.data, "curvature": one["curvature"].drop_vars(new, errors="ignore")})
    assert not {"samples", "overlap", "sharpness", "eigenspaces", "second_opinion"} & set(tabulate(old))


NEW = [
    "svcca_to_clean",
    "pwcca_to_clean",
    "class_gram_drift",
    "class_name",
    *feature_tables.WEIGHTS,
]


def test_tables_of_older_features_have_fewer_columns(one: Results) -> None:
    old = tabulate(replace(one, data={**one.data, "features": one["features"].drop_vars(NEW)}))
    new = tabulate(one)
    assert "features_weights" not in old
    gone = set(new["features_similarity"].columns) - set(old["features_similarity"].columns)
    assert gone == {"SVCCA", "PWCCA"}
    assert len(old["features_similarity"].rows) == len(new["features_similarity"].rows)
    assert old["class_cosines"].columns == ("condition", "class", "cosine")
    assert [row[1] for row in old["class_cosines"].rows[:10]] == [str(i) for i in range(10)]
    none = one["features"].drop_vars([*NEW, "class_cosine"])
    assert "class_cosines" not in tabulate(replace(one, data={**one.data, "features": none}))


def test_a_class_is_called_by_its_name(one: Results) -> None:
    table = tabulate(one)["class_cosines"]
    assert table.columns == ("condition", "class", "cosine", "Gram drift")
    assert [row[1] for row in table.rows[:10]] == GLYPHS
    found = one["features"].sel(checkpoint="grace-s0", condition="clean", layer="features")
    assert [row[3].value for row in table.rows[:10]] == found["class_gram_drift"].values.tolist()


def test_a_class_without_a_name_has_its_number() -> None:
    words = np.array([["a", "", np.nan], [np.nan, "b", np.nan]], dtype=object)
    named = xr.Dataset({"class_name": (("condition", "class"), words)}, {"class": [0, 1, 5]})
    assert class_names(named) == {0: "a", 1: "b", 5: "5"}
    assert class_names(named.drop_vars("class_name")) == {0: "0", 1: "1", 5: "5"}
