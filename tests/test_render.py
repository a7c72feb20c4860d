import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geomlab.errors import UserError
from geomlab.render import Rendered, render, render_comparison, summary_table
from geomlab.render.catalog import KINDS
from geomlab.render.compare import comparison_tables, describe_comparison, differing_settings
from geomlab.report.words import describe
from geomlab.results import Results, open_results
from geomlab.stats import GROUPS, jackknife_error, mean_stderr, paired_difference, t95
from geomlab.tables import Cell
from tests.synthetic import CONDITIONS, write_folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rendered]:
    """Two checkpoints; one was measured in full, so that the comparison has every kind of picture."""
    folder = tmp_path_factory.mktemp("drawn") / "out"
    small = {"conditions": ["clean", "pgd"], "layers": 5}
    write_folder(folder / "ft-s0", "ft-s0", measurements=["accuracy", "curvature"], reference=False, **small)
    write_folder(folder / "grace-s0", "grace-s0", quality=1.15, **small)
    return folder, render(folder)


def test_everything_of_each_checkpoint_and_of_all_is_written(drawn: tuple[Path, Rendered]) -> None:
    folder, rendered = drawn
    assert [part.folder.name for part in rendered.parts] == ["ft-s0", "grace-s0"]
    assert rendered.folder == folder / "compare"
    assert rendered.summary is None
    for one in (rendered, *rendered.parts):
        names = {path.name for path in one.figures}
        kinds = ["accuracy", "spectrum", "sampling", "density", "subspaces", "layers"]
        kinds += ["line", "plane", "surface", "paths", "sanity"]
        kinds += [kind.name for kind in KINDS if kind.section in ("Features", "Bound")]
        shown = kinds[:6] if one.folder.name == "ft-s0" else kinds
        assert names == {f"{kind}.{suffix}" for kind in shown for suffix in ("pdf", "png")}
        assert {path.suffix for path in one.tables} == {".csv", ".tex"}
        assert all(path.stat().st_size > 100 for path in (one.report, *one.figures, *one.tables))
        assert one.report.stat().st_size < 8_000_000
    assert json.loads((folder / "ft-s0" / "summary.json").read_text())["checkpoint"]["name"] == "ft-s0"
    assert {"differences.csv", "ratios.tex"} <= {path.name for path in rendered.tables}


def test_nothing_temporary_is_left(drawn: tuple[Path, Rendered]) -> None:
    suffixes = {Path(name).suffix for name in files(drawn[0])}
    assert suffixes == {".nc", ".json", ".html", ".csv", ".tex", ".pdf", ".png"}


def test_figures_embed_their_fonts(drawn: tuple[Path, Rendered]) -> None:
    content = (drawn[0] / "compare" / "figures" / "layers.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


def test_a_second_time_and_without_torch_it_gives_the_same_bytes(
    drawn: tuple[Path, Rendered], tmp_path: Path
) -> None:
    first = drawn[0] / "grace-s0"
    second = tmp_path / "again"
    shutil.copytree(first / "results", second / "results")
    shutil.copy(first / "study.json", second)
    code = "import sys; sys.modules['torch'] = None\nfrom geomlab.render import render\nrender(sys.argv[1])"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(second)], check=True, env=environment)
    before, after = files(first), files(second)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


@pytest.mark.parametrize("measurement", ["accuracy", "curvature", "features"])
def test_one_measurement_is_enough(measurement: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, conditions=["clean"], measurements=[measurement], reference=False)
    rendered = render(folder)
    assert rendered.figures
    assert rendered.tables


def test_an_incomplete_folder_shows_what_is_there(tmp_path: Path) -> None:
    gone = [
        ("accuracy", "pgd"),
        ("curvature", "clean"),
        ("curvature", "pgd"),
        ("features", "clean"),
        ("features", "pgd"),
        ("bound", None),
    ]
    folder = write_folder(
        tmp_path,
        conditions=["clean", "pgd"],
        measurements=["accuracy", "curvature", "features"],
        without=gone,
    )
    rendered = render(folder)
    assert {path.stem for path in rendered.figures} == {"accuracy"}
    assert "not measured yet; run geomlab analyze again with --resume" in rendered.report.read_text()


def test_networks_of_different_layers_are_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        write_folder(folder, name, conditions=["clean", "pgd"], measurements=["features"], layers=5)
    joined = open_results(tmp_path)
    features = joined["features"]
    other = features.sel(checkpoint=["b"]).assign_coords(layer=[*"xyzw", "features"])
    both = xr.concat([features.sel(checkpoint=["a"]), other], dim="checkpoint", join="outer")
    results = Results(tmp_path, joined.manifests, {"features": both})
    rendered = render_comparison(results, tmp_path / "compare")
    assert {path.stem for path in rendered.figures} == {
        kind.name for kind in KINDS if kind.section == "Features"
    }


def test_a_hostile_checkpoint_name_is_escaped(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>_$x&%"
    folder = write_folder(tmp_path, name, conditions=["clean", "pgd"], measurements=["accuracy", "landscape"])
    render(folder)
    assert "<script>alert" not in (folder / "report.html").read_text()
    assert json.loads((folder / "summary.json").read_text())["checkpoint"]["name"] == name


def test_an_empty_folder_is_summed_up_and_drawn(tmp_path: Path) -> None:
    gone = [("accuracy", condition) for condition in CONDITIONS]
    folder = write_folder(tmp_path, measurements=["accuracy"], reference=False, without=gone)
    results = open_results(folder)
    assert describe(results) == []
    assert summary_table(results).rows == ()
    assert "Nothing has been measured yet." in render(folder).report.read_text()


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results of geomlab there"):
        render(tmp_path)


def test_differences_are_paired_by_sample(two: Results) -> None:
    tables = comparison_tables(two)
    row = tables["differences"].rows[1]
    assert row[:2] == ("grace-s0", "pgd")
    a, b = (two["accuracy"].sel(checkpoint=name, condition="pgd") for name in ("grace-s0", "ft-s0"))
    mean, stderr = paired_difference(a["loss"].values, b["loss"].values)
    assert row[3] == Cell(mean, stderr, 300)
    assert row[4] == "by sample"
    unpaired = math.hypot(mean_stderr(a["loss"].values)[1], mean_stderr(b["loss"].values)[1])
    assert stderr < unpaired
    mean, stderr = paired_difference(a["correct"].values, b["correct"].values)
    assert row[2] == Cell(100 * mean, 100 * stderr, 300)


def test_other_samples_are_not_paired(two: Results) -> None:
    accuracy = two["accuracy"].copy(deep=True)
    accuracy["samples_sha256"] = accuracy["samples_sha256"].astype(object)
    accuracy["samples_sha256"].loc[{"checkpoint": "ft-s0"}] = "others, in the same order of classes"
    row = comparison_tables(Results(two.folder, two.manifests, {"accuracy": accuracy}))["differences"].rows[0]
    a, b = (accuracy["loss"].sel(checkpoint=name, condition="clean").values for name in ("grace-s0", "ft-s0"))
    assert row[4] == "no"
    assert isinstance(row[3], Cell)
    assert row[3].error == pytest.approx(math.hypot(mean_stderr(a)[1], mean_stderr(b)[1]))


def test_slices_are_compared_in_pairs(two: Results) -> None:
    rows = [row for row in comparison_tables(two)["slices_differences"].rows if row[1] == "pgd"]
    assert [row[2] for row in rows] == [
        *("width", "asymmetry", "sharpness", "roughness", "area", "curvature along d0", "curvature along d1")
    ]
    width, asymmetry = rows[0][3], rows[1][3]
    assert isinstance(width, Cell)
    assert isinstance(width.error, tuple)
    # The made-up widths are 0.4·1.15 and 0.4, each to 10 %, which comes from noise that both share.
    assert width.value == pytest.approx(0.06)
    assert width.error == pytest.approx((0.054, 0.066))
    assert isinstance(asymmetry, Cell)
    assert (asymmetry.value, asymmetry.error) == (0, (0, 0))
    assert rows[1][4] == Cell(1.0)
    assert rows[0][5] == "by group"

    landscape = two["landscape"].copy(deep=True)
    landscape["samples_sha256"] = landscape["samples_sha256"].astype(object)
    landscape["samples_sha256"].loc[{"checkpoint": "ft-s0"}] = "others"
    other = comparison_tables(Results(two.folder, two.manifests, {"landscape": landscape}))
    apart = next(row for row in other["slices_differences"].rows if row[1:3] == ("pgd", "width"))
    assert isinstance(apart[3], Cell)
    assert apart[3].error == pytest.approx(
        (0.06 - 0.1 * math.hypot(0.46, 0.4), 0.06 + 0.1 * math.hypot(0.46, 0.4))
    )
    assert apart[5] == "no"

    landscape["width_high"] = landscape["width_high"].where(landscape["condition"] != "pgd", math.inf)
    bounds = comparison_tables(Results(two.folder, two.manifests, {"landscape": landscape}))
    assert ("clean", "width") in [row[1:3] for row in bounds["slices_differences"].rows]
    assert ("pgd", "width") not in [row[1:3] for row in bounds["slices_differences"].rows]

    landscape["batchnorm"] = ("checkpoint", ["taken anew", "those of the checkpoint"])
    other = comparison_tables(Results(two.folder, two.manifests, {"landscape": landscape}))
    assert "slices_differences" not in other


def test_features_are_compared_in_pairs(two: Results) -> None:
    """Made-up numbers whose groups differ by the same noise in both checkpoints, and by a tenth of it beside."""
    data = two["features"].drop_vars([str(one) for one in two["features"] if str(one).startswith("sample_")])
    shape = (data.sizes["checkpoint"], data.sizes["condition"], GROUPS)
    noise = np.random.default_rng(0).normal(size=(2, GROUPS))
    for name in ("cka_to_clean", "effective_rank"):
        last = data[name].sel(layer="features").transpose("checkpoint", "condition").values[..., None]
        apart = np.array([0.0, 0.1])[:, None, None] * noise[1]
        dims = ("checkpoint", "condition", "group")
        data[f"{name}_left_out"] = (dims, last + 1e-3 * (np.broadcast_to(noise[0], shape) + apart))
    data["samples_sha256"] = (("checkpoint", "condition"), np.full(shape[:2], "same", dtype=object))
    found = Results(two.folder, two.manifests, {"features": data})
    rows = [row for row in comparison_tables(found)["features_differences"].rows if row[1] == "pgd"]
    assert [row[2] for row in rows] == ["CKA to clean", "effective rank"]
    a, b = (
        data["cka_to_clean"].sel(checkpoint=n, condition="pgd", layer="features") for n in two.checkpoints
    )
    difference = rows[0][3]
    assert isinstance(difference, Cell)
    assert isinstance(difference.error, tuple)
    assert difference.value == pytest.approx(float(b - a))
    half = t95(GROUPS) * float(jackknife_error(1e-4 * noise[1]))
    assert difference.error == pytest.approx((difference.value - half, difference.value + half))
    assert rows[0][5] == "by group"

    n = data["n"].broadcast_like(data["samples_sha256"]).copy()
    n[1] = n[1] / 2
    other = comparison_tables(Results(two.folder, two.manifests, {"features": data.assign(n=n)}))
    assert {row[2] for row in other["features_differences"].rows} == {"CKA to clean"}
    assert {row[5] for row in other["features_differences"].rows} == {"no"}


def test_ratios_carry_the_errors_of_both(two: Results) -> None:
    row = comparison_tables(two)["ratios"].rows[0]
    assert isinstance(row[3], Cell)
    # The made-up traces are 61 and 61/1.15, both with a relative error of 1.7/61.
    assert row[3].value == pytest.approx(1 / 1.15)
    assert row[3].error == pytest.approx(1 / 1.15 * math.sqrt(2) * 1.7 / 61)


def test_the_comparison_is_said_in_words(two: Results) -> None:
    accuracy, bent, sharpness = describe_comparison(two)
    # The made-up curvatures along d₀ are 3/9.5/1.15 and 3/9.5 on clean inputs, to 10 % that both share.
    assert "Curvature along d₀ of grace-s0 less that of ft-s0, in nats per squared distance: −0.0412" in bent
    assert "[−0.0453, −0.0371] on clean inputs, " in bent
    assert "≈" not in bent.partition("A difference")[0]
    assert accuracy.startswith("Accuracy of grace-s0 less that of ft-s0, in points: ")
    assert "λmax of grace-s0 over that of ft-s0" in sharpness
    assert sharpness.count("(not converged)") == [
        row[-1] for row in comparison_tables(two)["ratios"].rows
    ].count("no")


def test_conditions_of_one_short_name_are_told_apart(tmp_path: Path) -> None:
    """`pgd` is short within a folder; in another it may be another attack."""
    for name, spec in (("a", "pgd:eps=2/255"), ("b", "pgd:eps=64/255")):
        write_folder(tmp_path / name, name, conditions=("clean", "pgd"))
        manifest = json.loads((tmp_path / name / "study.json").read_text())
        manifest["conditions"][1]["spec"] = spec
        (tmp_path / name / "study.json").write_text(json.dumps(manifest))
    results = open_results(tmp_path / "a", tmp_path / "b")
    assert results.conditions == ("clean", "pgd:eps=2/255", "pgd:eps=64/255")
    assert [row[1] for row in comparison_tables(results)["differences"].rows] == ["clean"]
    assert open_results(tmp_path / "a").conditions == ("clean", "pgd")


def test_what_was_analysed_otherwise_is_told_and_other_subspaces_are_not_compared(tmp_path: Path) -> None:
    for name, subspace in (("a", "full"), ("b", "visual")):
        write_folder(tmp_path / name, name, conditions=("clean",))
        manifest = json.loads((tmp_path / name / "study.json").read_text())
        manifest["settings"]["params"] = subspace
        (tmp_path / name / "study.json").write_text(json.dumps(manifest))
    results = open_results(tmp_path / "a", tmp_path / "b")
    (told,) = differing_settings(results)
    assert "different params (a: full, b: visual)" in told
    curvature = results["curvature"].copy(deep=True)
    curvature["params"] = curvature["params"].astype(object)
    curvature["params"].loc[{"checkpoint": "b"}] = "other"
    assert "ratios" in comparison_tables(results)
    changed = Results(results.folder, results.manifests, {**results.data, "curvature": curvature})
    assert "ratios" not in comparison_tables(changed)


def test_what_is_not_there_any_more_is_not_shown(tmp_path: Path) -> None:
    write_folder(tmp_path, "a", conditions=("clean",), measurements=["accuracy", "curvature"])
    render(tmp_path)
    before = {path.name for path in tmp_path.glob("*/*") if path.parent.name in ("figures", "tables")}
    (tmp_path / "figures" / "mine.pdf").write_text("precious")
    for path in (tmp_path / "results").glob("curvature*"):
        path.unlink()
    render(tmp_path)
    after = {path.name for path in tmp_path.glob("*/*") if path.parent.name in ("figures", "tables")}
    assert {"spectrum.pdf", "curvature.csv"} <= before - after
    assert "mine.pdf" in after
