"""The pictures of feature geometry: what they draw of what the cells hold."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Annotation

from geomlab.plots import (
    alignment,
    bands,
    classes,
    clouds,
    matrices,
    measures,
    projection,
    projection3d,
    projection_html,
    style,
    variance,
    volumes,
)
from geomlab.render.catalog import pictures
from geomlab.results import Results
from geomlab.stats import GROUPS, mean_stderr, t95
from tests.synthetic import BLOCK_LAYERS, GLYPHS, N


def cell(results: Results) -> xr.Dataset:
    return results["features"].isel(checkpoint=0)


def axes(width: float = 3.25) -> Axes:
    return style.new_figure(width, 2.5).subplots()


@pytest.fixture(scope="module")
def many(one: Results) -> xr.Dataset:
    """Forty classes of 600 samples, of which those of high numbers move most."""
    data, number, sample = cell(one).drop_dims(["class", "sample"]), np.arange(40), np.arange(600)
    grid = np.stack([number % 8, number // 8, 0 * number], axis=1).astype(float)
    dims = ("condition", "class", "component")
    shift = np.arange(data.sizes["condition"])[:, None, None] * (number[:, None] == [[35, 36, 37]])
    here = grid + shift
    return data.assign_coords({"class": number, "sample": sample}).assign(
        class_cosine=(("condition", "layer", "class"), np.ones((5, 13, 40)) - number / 100),
        class_projection=(dims, here),
        clean_class_projection=(dims, np.broadcast_to(grid, here.shape)),
        projection=(("condition", "sample", "component"), here[:, sample % 40]),
        sample_label=("sample", (sample % 40).astype(float)),
    )


def test_bands_are_intervals_of_the_jackknife(one: Results) -> None:
    measure = measures.SIMILARITY.measures[4]
    band, line = alignment.plot(cell(one), axes(), measure)[:2]
    pgd = cell(one).sel(condition="pgd")
    value, error = pgd[measure.variable].values, pgd[f"{measure.variable}_stderr"].values
    np.testing.assert_array_equal(line.get_ydata(), value)  # type: ignore[union-attr]
    x, y = band.get_paths()[0].vertices.T  # type: ignore[union-attr]
    for i in range(len(value)):
        ends = {round(end, 9) for end in y[x == i]}
        half = t95(GROUPS) * error[i]
        assert {round(value[i] - half, 9), round(value[i] + half, 9)} <= ends


def test_a_positive_ratio_has_its_interval_in_the_logarithm(one: Results) -> None:
    (measure,) = (m for m in measures.CLASSES.measures if m.variable == "nc1")
    data = cell(one).sel(layer=["features"])
    wide = data.assign(nc1_stderr=2 * data["nc1"])
    looks = style.looks(["pgd"])
    (curve,) = bands.curves(wide, "nc1", looks, ["features"], positive=measure.wide)
    value = data["nc1"].sel(condition="pgd").item()
    np.testing.assert_allclose(
        [curve.low, curve.high], value * np.exp(2 * t95(GROUPS) * np.array([[-1], [1]]))
    )


def test_bands_in_a_browser_are_the_same(one: Results) -> None:
    low, high, line = alignment.interactive(cell(one).expand_dims("checkpoint")).data[:3]
    pgd = cell(one).sel(condition="pgd")
    half = t95(GROUPS) * pgd["cka_to_clean_stderr"].values
    np.testing.assert_allclose(np.array(high.y) - low.y, 2 * half, atol=1e-12)
    np.testing.assert_allclose(line.y, pgd["cka_to_clean"])
    assert (high.fill, low.showlegend, line.showlegend) == ("tonexty", False, True)
    assert line.customdata[0][0] == BLOCK_LAYERS[0]


def test_few_samples_have_fewer_groups(one: Results) -> None:
    data = cell(one).assign(n=("condition", np.full(5, 7.0)))
    band = alignment.plot(data, axes())[0]
    x, y = band.get_paths()[0].vertices.T  # type: ignore[union-attr]
    error = float(data["cka_to_clean_stderr"].sel(condition="pgd")[-1])
    assert np.ptp(y[x == len(BLOCK_LAYERS) - 1]) == pytest.approx(2 * t95(7) * error)


def test_a_single_layer_has_bars_for_want_of_a_band(one: Results) -> None:
    last = cell(one).sel(layer=["features"])
    assert sum(isinstance(a, ErrorbarContainer) for a in alignment.plot(last, axes())) == 4
    traces = alignment.interactive(last.expand_dims("checkpoint")).data
    assert all(trace.error_y.array is not None for trace in traces)


def test_a_group_has_its_panels_in_rows_of_three_below_each_other(two: Results) -> None:
    drawn = alignment.figure(two["features"], "", measures.WEIGHTS).axes
    labels = [one.label for one in measures.WEIGHTS.measures]
    assert [ax.get_ylabel() for ax in drawn] == 2 * labels
    assert [ax.get_title(loc="left") for ax in drawn if ax.get_title(loc="left")] == ["ft-s0", "grace-s0"]
    named = [ax.xaxis.get_tick_params()["labelbottom"] for ax in drawn]
    assert named == 9 * [False] + 3 * [True]
    assert len(alignment.interactive(two["features"], "", measures.WEIGHTS).layout.annotations) == 12


def test_a_measure_that_spans_decades_is_not_linear(one: Results) -> None:
    data = cell(one).expand_dims("checkpoint")
    wide = data.assign(nc1=data["nc1"] * 10.0 ** np.linspace(0, -3, len(BLOCK_LAYERS))[:, None].T)
    scale = {ax.get_ylabel(): ax.get_yscale() for ax in alignment.figure(wide, "", measures.CLASSES).axes}
    assert scale["NC1"] == "log"
    assert {kind for label, kind in scale.items() if label != "NC1"} == {"linear"}
    assert alignment.interactive(wide, "", measures.CLASSES).layout.yaxis2.type == "log"


def test_older_features_have_the_pictures_that_they_can(one: Results) -> None:
    data = one["features"].drop_dims(["clean_layer", "reference_layer", "sample", "principal"])
    gone = ["svcca_to_clean", "pwcca_to_clean", "weights_cka", "class_gram_drift"]
    old = Results(one.folder, one.manifests, {"features": data.drop_vars(gone)})
    found = {kind.name: (kind, whole) for kind, whole, _ in pictures(old)}
    assert list(found) == ["features", "similarity", "classes", "class_geometry", "dimension", "reference"]
    kind, whole = found["similarity"]
    assert [ax.get_ylabel() for ax in kind.figure(whole, "").axes][-1] == "mutual k-NN"
    kind, whole = found["classes"]
    assert [ax.get_xlabel() for ax in kind.figure(whole, "").axes] == ["cosine of its centroids"]


def test_a_matrix_has_the_layers_under_the_condition_upwards(one: Results) -> None:
    ax = axes()
    image = matrices.plot(cell(one).sel(condition="pgd"), ax)
    value = cell(one)["cka_matrix"].sel(condition="pgd", layer=BLOCK_LAYERS[3], clean_layer="features")
    assert np.asarray(image.get_array())[3, -1] == float(value)
    assert image.origin == "lower"
    assert len(ax.texts) == len(BLOCK_LAYERS) ** 2
    assert {len(text.get_text()) for text in ax.texts} <= {3, 4}
    trace = matrices.interactive(cell(one).expand_dims("checkpoint")).data[1]
    assert trace.z[3][-1] == pytest.approx(float(value), abs=1e-6)
    assert trace.customdata[3][-1] == pytest.approx(0.02 * float(value), abs=1e-6)
    assert (trace.x[-1], trace.y[3]) == ("features", BLOCK_LAYERS[3])


def test_matrices_are_of_conditions_that_have_one(one: Results, two: Results) -> None:
    drawn = matrices.figure(one["features"]).axes[:-1]  # the last one is the colour bar
    assert [ax.get_title(loc="left") for ax in drawn] == ["clean", "pgd", "fgsm", "corruption:gaussian_noise"]
    of_two = matrices.figure(two["features"], "", matrices.REFERENCE)
    assert [ax.get_ylabel() for ax in of_two.axes[:-1]] == ["ft-s0", "", "", "grace-s0", "", ""]
    assert "numbered names within visual.transformer.resblocks" in of_two.get_supxlabel()
    assert len(of_two.axes[0].texts) == 64
    assert len(matrices.interactive(two["features"], "", matrices.REFERENCE).data) == 6


def test_what_is_not_defined_in_a_matrix_is_grey_and_without_a_number(one: Results) -> None:
    data = cell(one).sel(condition="pgd").copy(deep=True)
    data["cka_matrix"][2, 4] = np.nan
    ax = axes()
    assert np.ma.asarray(matrices.plot(data, ax).get_array()).mask.sum() == 1
    assert len(ax.texts) == len(BLOCK_LAYERS) ** 2 - 1


def test_a_projection_has_points_spokes_and_arrows(one: Results) -> None:
    ax = axes()
    behind, spokes, points = projection.plot(cell(one), ax, "pgd")
    data = cell(one).sel(condition="pgd")
    assert isinstance(behind, PathCollection)
    assert isinstance(points, PathCollection)
    assert isinstance(spokes, LineCollection)
    assert (len(behind.get_offsets()), len(points.get_offsets())) == (N, N - 10)
    (start, end), label = spokes.get_segments()[7], int(data["sample_label"][7])
    np.testing.assert_allclose(start, data["projection"][7, :2])
    np.testing.assert_allclose(end, data["class_projection"].sel({"class": label})[:2])
    arrows = [text for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert len(arrows) == 10
    np.testing.assert_allclose(arrows[3].xy, data["class_projection"][3, :2])
    np.testing.assert_allclose(arrows[3].xyann, data["clean_class_projection"][3, :2])
    assert [text.get_text() for text in ax.texts if text.get_text()] == [str(i) for i in range(10)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("component 1 (50 %)", "component 2 (20 %)")
    assert ax.get_aspect() == 1


def test_clean_points_have_no_arrows_and_none_behind_them(one: Results) -> None:
    ax = axes()
    assert len(projection.plot(cell(one), ax, "clean")) == 2
    assert not [text for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch is not None]


def test_the_middle_of_a_class_in_a_umap_is_that_of_its_points(one: Results) -> None:
    pgd = clouds.clouds(cell(one), clouds.UMAP)[1]
    data = cell(one).sel(condition="pgd")
    at = data["umap"].values[data["sample_label"].values == 4]
    np.testing.assert_allclose(pgd.centres[4], at.mean(axis=0))
    before = cell(one).sel(condition="clean")
    kept = before["umap"].values[before["sample_label"].values == 4]
    np.testing.assert_allclose(pgd.clean[4], kept.mean(axis=0))
    without = clouds.clouds(cell(one).sel(condition=["pgd"]), clouds.UMAP)[0]
    assert np.isnan(without.clean).all()
    ax = axes()
    projection.plot(cell(one).sel(condition=["pgd"]), ax, "pgd", clouds.UMAP)
    assert ax.get_xlabel() == "UMAP 1"
    assert len(ax.texts) == 10


def test_panels_of_a_projection_share_a_scale_within_a_checkpoint(two: Results) -> None:
    drawn = projection.figure(two["features"]).axes
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in drawn[:3]}) == 1
    assert [ax.get_ylabel().split("\n")[0] for ax in drawn] == 3 * ["ft-s0"] + 3 * ["grace-s0"]
    assert [ax.yaxis.label.get_visible() for ax in drawn] == 2 * [True, False, False]


def test_a_condition_that_was_not_projected_leaves_its_place(two: Results) -> None:
    data = two["features"].copy(deep=True)
    data["projection"].loc[{"checkpoint": "ft-s0", "condition": "pgd"}] = np.nan
    titles = [ax.get_title(loc="left") for ax in projection.figure(data).axes]
    assert titles == ["clean", "domain:sketch", "clean", "pgd", "domain:sketch"]
    assert len(projection_html.interactive(data).data) < len(
        projection_html.interactive(two["features"]).data
    )


def test_names_of_classes_are_in_the_legend(one: Results) -> None:
    (legend,) = projection.figure(one["features"]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["clean", *GLYPHS]
    bare = one["features"].drop_vars("class_name").sel(condition=["clean"])
    assert not projection.figure(bare).legends


def test_of_many_samples_the_same_few_are_drawn(many: xr.Dataset) -> None:
    found = clouds.clouds(many, clouds.PCA)
    assert {len(one.points) for one in found} == {clouds.POINTS}
    assert len({one.samples.tobytes() for one in found}) == 1
    assert len(set(found[0].labels.tolist())) == 40  # of every class, though they come in turns
    title = projection.figure(many.expand_dims("checkpoint")).get_suptitle()
    assert title.endswith("500 of up to 600 samples of a condition; arrows of the 15 classes that moved most")
    assert [one.marked for one in found] == [found[0].marked] * 5
    assert {35, 36, 37} < found[0].marked
    assert len(found[0].moved) == clouds.ARROWS


def test_in_space_all_conditions_are_together(one: Results) -> None:
    fig = projection3d.figure(one["features"])
    (ax,) = fig.axes
    assert [len(points.get_offsets()) for points in ax.collections] == [N] + 4 * [N - 10]
    assert len(ax.lines) == 2 * 10 * 4
    assert [text.get_text() for text in ax.texts] == [str(i) for i in range(10)]
    assert ax.get_zlabel() == "component 3 (10 %)"


def test_a_projection_is_the_same_file_each_time(many: xr.Dataset) -> None:
    for module in (projection, projection3d):
        first, second = (
            style.save(style.settle(module.figure(many.expand_dims("checkpoint"))), "pdf") for _ in range(2)
        )
        assert first == second


def test_points_in_a_browser_say_what_they_are(one: Results) -> None:
    fig = projection_html.interactive(one["features"])
    points, names, moved = fig.data[0], fig.data[1], fig.data[3]
    pgd = fig.data[2]
    assert (points.type, names.mode, moved.mode) == ("scatter3d", "text", "lines+markers")
    assert pgd.text[13] == GLYPHS[3]
    assert pgd.customdata[13] == 13
    np.testing.assert_allclose(pgd.z[13], cell(one).sel(condition="pgd")["projection"][13, 2], rtol=1e-6)
    assert list(names.text) == GLYPHS
    ends = cell(one).sel(condition="pgd")
    np.testing.assert_allclose(
        moved.x[:2], [ends["clean_class_projection"][0, 0], ends["class_projection"][0, 0]], rtol=1e-6
    )
    assert np.isnan(moved.x[2])
    toggled = {trace.legendgroup for trace in fig.data if trace.showlegend}
    assert toggled == {*one.conditions, "names"}
    assert {trace.legendgroup for trace in fig.data} == toggled


def test_points_in_a_browser_are_coloured_by_condition_or_class(one: Results) -> None:
    fig = projection_html.interactive(one["features"])
    (menu,) = fig.layout.updatemenus
    by_condition, by_class = (button.args[0]["marker.color"] for button in menu.buttons)
    assert list(by_condition) == [trace.marker.color for trace in fig.data]
    assert len(by_class) == len(fig.data)
    assert list(by_class[0][:12]) == [*range(10), 0, 1]
    assert by_class[3] == style.looks(one.conditions)["pgd"].color


def test_the_browser_has_few_scenes_and_small_ones(many: xr.Dataset) -> None:
    whole = xr.concat([many.expand_dims(checkpoint=[f"net-{i}"]) for i in range(6)], "checkpoint")
    fig = projection_html.interactive(whole, "title")
    assert [note.text for note in fig.layout.annotations] == [f"net-{i}" for i in range(4)]
    assert "the first 4 of 6 checkpoints" in fig.layout.title.text
    assert len(fig.to_json()) < 4 * 150_000


def test_volumes_are_distributions_with_their_means(one: Results) -> None:
    ax = axes()
    line, bar = volumes.plot(cell(one), ax)[:2]
    volume = np.sort(cell(one)["sample_gram_volume"].sel(condition="pgd").dropna("sample").values)
    x, y = line.get_data()  # type: ignore[union-attr]
    np.testing.assert_array_equal(x, volume)
    assert (y[0], y[-1]) == (1 / len(volume), 1)
    assert isinstance(bar, ErrorbarContainer)
    mean, stderr = mean_stderr(volume)
    (ends,) = bar[2][0].get_segments()
    np.testing.assert_allclose(ends[:, 0], mean + np.array([-1, 1]) * t95(len(volume)) * stderr)
    np.testing.assert_allclose(ends[:, 1], (volume <= mean).mean())
    labels = [text.get_text() for text in volumes.figure(one["features"]).legends[0].get_texts()]
    assert labels == list(one.conditions)[1:]


def test_volumes_of_clean_inputs_alone_are_drawn(one: Results) -> None:
    assert len(volumes.plot(cell(one).sel(condition=["clean"]), axes())) == 2


def test_volumes_in_a_browser_have_few_points(one: Results, two: Results) -> None:
    curve, mark = volumes.interactive(one["features"]).data[:2]
    assert len(curve.x) == volumes.STEPS
    assert float(curve.y[-1]) == 1
    assert (curve.showlegend, mark.showlegend) == (False, True)
    assert len(volumes.interactive(two["features"]).data) == 2 * 2 * 2


def test_the_class_that_moved_most_is_on_top(one: Results) -> None:
    ax = axes()
    artists = classes.plot(cell(one), ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == GLYPHS[::-1]
    assert ax.get_ylim() == (9.5, -0.5)
    bars = artists[0]
    assert isinstance(bars, ErrorbarContainer)
    found = cell(one).sel({"condition": "pgd", "layer": "features", "class": 9})
    half = t95(GROUPS) * float(found["class_cosine_stderr"])
    ends = bars[2][0].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, float(found["class_cosine"]) + np.array([-half, half]))
    traces = classes.interactive(one["features"]).data
    assert len(traces) == 2 * 4
    assert [trace.showlegend for trace in traces] == 4 * [True] + 4 * [False]
    assert traces[0].customdata[0][0] == "zigzag"


def test_of_many_classes_the_worst_are_drawn_and_that_is_said(many: xr.Dataset) -> None:
    assert classes.worst(many) == list(range(39, 24, -1))
    whole: Any = many.expand_dims("checkpoint")
    said = "the 15 classes of 40 whose centroids turned most"
    assert said in classes.figure(whole).get_suptitle()
    assert said in classes.interactive(whole, "title").layout.title.text
    few = many.isel({"class": slice(30)})
    assert len(classes.worst(few)) == 30


def test_a_class_that_nobody_saw_is_left_out(one: Results) -> None:
    data = cell(one).copy(deep=True)
    data["class_cosine"].loc[{"class": 9}] = np.nan
    assert classes.worst(data) == list(range(8, -1, -1))


def test_the_spectrum_of_the_variance_is_of_the_last_layer_and_without_rounding(one: Results) -> None:
    data = cell(one).copy(deep=True)
    data["variance_share"].loc[{"layer": "features", "principal": slice(40, None)}] = 1e-9
    data["variance_share"].loc[{"layer": BLOCK_LAYERS[0]}] = 0.5
    ax = axes()
    band, line = variance.plot(data, ax)[:2]
    clean = data.isel(condition=0, layer=-1)
    share, error = (clean[name].values[:40] for name in ("variance_share", "variance_share_stderr"))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 41))  # type: ignore[union-attr]
    np.testing.assert_array_equal(line.get_ydata(), share)  # type: ignore[union-attr]
    x, y = band.get_paths()[0].vertices.T  # type: ignore[union-attr]
    half = np.exp(t95(GROUPS) * error[7] / share[7])
    assert {share[7] / half, share[7] * half} <= set(y[x == 8])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    low, high, middle = variance.interactive(data.expand_dims("checkpoint")).data[:3]
    np.testing.assert_allclose(middle.y, share)
    np.testing.assert_allclose([low.y[7], high.y[7]], [share[7] / half, share[7] * half])
