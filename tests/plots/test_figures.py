"""Every kind of picture, of one checkpoint and of two, in both libraries."""

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from geomlab.plots import (
    accuracy,
    alignment,
    density,
    layers,
    line,
    measures,
    paths,
    plane,
    sampling,
    spectrum,
    style,
    subspaces,
    surface,
)
from geomlab.plots.axes import waypoints
from geomlab.plots.scales import levels
from geomlab.render.catalog import KINDS, Kind, pictures
from geomlab.results import Results
from geomlab.results.overlap import overlaps
from tests.synthetic import LAYERS

IDS = [kind.name for kind in KINDS]


def clean(results: Results, measurement: str) -> xr.Dataset:
    return results[measurement].isel(checkpoint=0)


def axes(width: float = 3.25) -> Axes:
    return style.new_figure(width, 2.5).subplots()


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def of_one(kind: Kind, one: Results) -> Figure:
    return style.settle(
        kind.figure(one[kind.measurement], f"{kind.title}\ngrace-s0 on glyphs, n = 300, seed 0")
    )


@pytest.fixture(scope="module")
def of_two(kind: Kind, two: Results) -> Figure:
    return style.settle(kind.figure(two[kind.measurement], kind.title))


def test_a_figure_has_the_width_of_a_column_or_a_page(of_one: Figure, of_two: Figure) -> None:
    assert of_one.get_size_inches()[0] in (style.COLUMN, style.PAGE)
    assert of_two.get_size_inches()[0] == style.PAGE


def test_every_panel_of_a_figure_of_two_has_the_same_scale(of_two: Figure) -> None:
    by_label: dict[str, set[tuple[object, ...]]] = {}
    for ax in of_two.axes:
        by_label.setdefault(ax.get_ylabel(), set()).add((*ax.get_ylim(), ax.get_yscale()))
    assert all(len(scales) == 1 for scales in by_label.values())


def test_no_text_leaves_the_figure(of_one: Figure, of_two: Figure) -> None:
    for figure in (of_one, of_two):
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) > -0.02
        assert box.x1 < width + 0.02
        assert box.y1 < height + 0.02


def test_there_is_a_version_for_a_browser(kind: Kind, one: Results, two: Results) -> None:
    if kind.interactive is None:
        return
    assert kind.interactive(one[kind.measurement], "A\nb").layout.title.text.startswith("A<br><sup>b</sup>")
    assert len(kind.interactive(two[kind.measurement], "").data) > 1


def test_accuracy_draws_the_wilson_interval(one: Results) -> None:
    artists = accuracy.plot(clean(one, "accuracy"), axes())
    assert len(artists) == 5
    container = artists[0]
    assert isinstance(container, ErrorbarContainer)
    ends = container[2][0].get_segments()[0][:, 1]
    first = clean(one, "accuracy").isel(condition=0)
    np.testing.assert_allclose(ends, [first["accuracy_low"], first["accuracy_high"]])


def test_the_spectrum_says_what_did_not_converge(one: Results) -> None:
    figure = spectrum.figure(one["curvature"])
    assert "hollow: not converged" in [text.get_text() for text in figure.axes[0].texts]
    markers = spectrum.interactive(one["curvature"]).data[1].marker.symbol
    assert [symbol.endswith("-open") for symbol in markers] == [*[False] * 8, True, True, False, True]


def test_a_spectrum_that_spans_zero_and_decades_is_symlog(one: Results) -> None:
    ax = axes()
    spectrum.plot(clean(one, "curvature"), ax)
    assert ax.get_yscale() == "symlog"


def test_the_density_has_bands_and_says_how_it_is_smoothed(one: Results) -> None:
    for variable in ("density", "cdf"):
        assert len(density.plot(clean(one, "curvature"), axes(), variable)) == 10
    figure = density.figure(one["curvature"])
    assert figure.axes[0].get_title(loc="left") == "smoothed by a normal of width 0.07–0.42"
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear"]
    hover = density.interactive(one["curvature"]).data[2].hovertemplate
    assert hover.endswith("<br>smoothed by a normal of width 0.07")


def test_the_density_is_cut_below_one_eigenvalue(one: Results) -> None:
    figure = density.figure(one["curvature"])
    low, high = figure.axes[0].get_ylim()
    cell = clean(one, "curvature").sel(condition="pgd")  # of the widest normal
    peak = 1 / float(cell["dim"] * cell["density_width"] * np.sqrt(2 * np.pi))
    assert low == pytest.approx(peak / 5)
    assert float(cell["density"].min()) < 1e-30  # between eigenvalues
    lines = [line.get_ydata() for line in figure.axes[0].get_lines()]
    assert all(low / 10 <= min(y) and max(y) < high for y in lines if len(y) > 2)
    last = float(cell["density"].isel(point=-1))
    assert last < low  # the axis ends with a foot, not with a peak


def test_a_density_far_from_its_outliers_is_symlog_else_linear(one: Results) -> None:
    ax = axes()
    density.plot(clean(one, "curvature"), ax)
    assert ax.get_xscale() == "symlog"
    data = clean(one, "curvature")
    bulk = np.abs(data["density_at"]) < 2
    names = [name for name in data.data_vars if "point" in data[name].dims]
    near = data.assign({name: data[name].where(bulk) for name in names})
    ax = axes()
    assert len(density.plot(near, ax)) == 10
    assert ax.get_xscale() == "linear"


def test_a_density_of_one_probe_has_no_band(one: Results) -> None:
    data = clean(one, "curvature")
    ends = ("density_low", "density_high", "cdf_low", "cdf_high")
    bare = data.assign({name: data[name] * np.nan for name in ends})
    band = density.plot(bare, axes())[0]
    edge = band.get_paths()[0].vertices  # type: ignore[union-attr]
    line = density.plot(bare, axes())[1].get_xydata()  # type: ignore[union-attr]
    np.testing.assert_allclose(np.unique(edge[:, 1]), np.unique(line[:, 1]))


def test_sampling_has_errors_over_the_samples(one: Results) -> None:
    ax = axes()
    artists = sampling.plot(clean(one, "curvature"), ax)
    assert len([a for a in artists if isinstance(a, ErrorbarContainer)]) == 5
    assert [text.get_text() for text in ax.get_xticklabels()] == ["37.5", "75", "150", "300"]
    assert ax.get_xscale() == "log"
    container = artists[0]
    assert isinstance(container, ErrorbarContainer)
    first = clean(one, "curvature").sel(condition="clean", part=1)
    ends = container[2][0].get_segments()[-1][:, 1]
    wanted = float(first["part_eigenvalue"]) + np.array([-1, 1]) * float(first["part_eigenvalue_stderr"])
    np.testing.assert_allclose(ends, wanted)


def test_sampling_says_what_did_not_converge(one: Results) -> None:
    data = one["curvature"].copy(deep=True)
    assert sampling.figure(data).axes[0].get_title(loc="right") == ""
    data["part_converged"].loc[{"condition": "pgd", "part": 8}] = 0
    assert sampling.figure(data).axes[0].get_title(loc="right") == "hollow: not converged"
    symbols = sampling.interactive(data).data[1].marker.symbol
    assert [symbol.endswith("-open") for symbol in symbols] == [True, False, False, False]


def test_sampling_draws_a_bar_that_reaches_below_zero(one: Results) -> None:
    data = one["curvature"].copy(deep=True)
    data["part_eigenvalue_stderr"].loc[{"condition": "clean"}] = 1e3
    bars = sampling.interactive(data).data[0].error_y
    assert np.isfinite(bars.arrayminus).all()
    assert sampling.figure(data).axes[0].get_ylim()[0] < -900


def test_subspaces_show_what_is_shared_and_what_halves_share(two: Results) -> None:
    data = two["curvature"]
    ax = axes(style.PAGE)
    shown = np.asarray(subspaces.plot(data, ax).get_array())
    assert shown.shape == (6, 6)
    np.testing.assert_array_equal(shown, shown.T)
    first = next(overlaps(data))
    assert shown[0, 1] == first.shared
    assert shown[0, 0] == first.halves[0]
    assert [text.get_fontstyle() for text in ax.texts[:3]] == ["italic", "normal", "normal"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["clean", "pgd*", "domain:sketch"] * 2
    assert ax.get_xlabel() == "outlined: two halves of the same samples; * not converged"
    assert len(ax.patches) == 6


def test_subspaces_of_other_parameters_are_grey(two: Results) -> None:
    data = two["curvature"].copy(deep=True)
    data["layer_dim"].loc[{"checkpoint": "ft-s0"}] += 1
    ax = axes(style.PAGE)
    shown = np.ma.asarray(subspaces.plot(data, ax).get_array())
    assert shown.mask[:3, 3:].all()
    assert not shown.mask[:3, :3].any()
    assert len([text for text in ax.texts if text.get_text()[0] == "0"]) == 18
    off_diagonal = subspaces.interactive(data).data[0]
    assert np.isnan(off_diagonal.z[0][3])
    assert off_diagonal.customdata[0][3] == ""


def test_subspaces_that_were_not_measured_are_left_out(one: Results) -> None:
    part = one["curvature"].sel(condition=["clean", "fgsm"])
    results = Results(one.folder, one.manifests, {"curvature": part})
    data = next(data for kind, data, _ in pictures(results) if kind.name == "subspaces")
    assert data.sizes["condition"] == 5
    ax = subspaces.figure(data).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["clean", "fgsm"]
    assert subspaces.figure(data.sel(condition=["clean"])).axes[0].texts[0].get_fontstyle() == "italic"


@pytest.mark.parametrize("drawn", [density, sampling])
def test_a_condition_without_curvature_keeps_the_colours_of_the_others(drawn: Any, one: Results) -> None:
    part = one["curvature"].sel(condition=["clean", "domain:sketch"])
    whole = part.reindex(condition=list(one.conditions))
    wanted = [style.looks(one.conditions)[name].color for name in ("clean", "domain:sketch")]
    assert [t.line.color for t in drawn.interactive(whole).data if t.showlegend] == wanted
    drawn.figure(whole)


def test_old_results_have_the_old_pictures(one: Results) -> None:
    new = ("density", "part_eigenvalue", "eigenvector_sketch")
    old = Results(one.folder, one.manifests, {"curvature": one["curvature"].drop_vars(new)})
    assert [kind.name for kind, _, _ in pictures(old)] == ["spectrum", "layers"]


def test_every_menu_says_what_it_chooses(kind: Kind, one: Results) -> None:
    if kind.interactive is not None:
        menus = kind.interactive(one[kind.measurement], "").layout.updatemenus
        assert all(menu.name in ("Condition", "Colour") for menu in menus)


def test_layers_have_error_bars_and_short_names(one: Results) -> None:
    ax = axes(style.PAGE)
    artists = layers.plot(clean(one, "curvature"), ax)
    assert len(artists) == 5
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert len(labels) == len(LAYERS)
    assert "0.attn.out_proj" in labels
    assert "visual.transformer.resblocks" in ax.get_xlabel()


def test_the_line_has_bands_and_a_meaning(one: Results) -> None:
    ax = axes()
    artists = line.plot(clean(one, "landscape"), ax)
    assert len(artists) == 10
    assert ax.get_xlabel() == r"step along $d_0$ ($\|d_0\| = 0.98\,\|\theta\|$)"
    assert ax.get_yscale() == "log"


def test_the_plane_counts_what_is_not_finite(one: Results) -> None:
    ax = axes()
    assert plane.plot(clean(one, "landscape").sel(condition="pgd"), ax) is not None
    assert ax.get_title(loc="right") == "6 of 289 points not finite"


def test_a_plane_without_a_finite_value_is_said_to_be_so(one: Results) -> None:
    empty = clean(one, "landscape").sel(condition="pgd")
    empty = empty.assign(plane_loss=empty["plane_loss"] * np.nan)
    ax = axes()
    assert plane.plot(empty, ax) is None
    assert ax.get_title(loc="right") == "289 of 289 points not finite"


def test_the_plane_is_drawn_with_alpha_across(one: Results) -> None:
    cell = clean(one, "landscape").sel(condition="clean")
    flat, _, solid, *_ = surface.interactive(one["landscape"]).data
    expected = float(cell["plane_loss"].isel(alpha=7, beta=3))
    np.testing.assert_allclose(solid.z[3][7], expected)
    np.testing.assert_allclose([10 ** flat.z[3][7], flat.customdata[3][7][0]], expected)
    (ax, *_) = surface.figure(one["landscape"]).axes
    assert ax.get_xlim() == pytest.approx((-1, 1), abs=0.2)
    assert ax.get_zlim() == pytest.approx(np.log10(levels(one["landscape"]["plane_loss"].values)[0][[0, -1]]))


def test_what_is_hovered_over_is_linked_to_marks_on_both(one: Results) -> None:
    figure = surface.interactive(one["landscape"])
    (row,) = figure.layout.meta["linked"]
    kinds = [figure.data[i].type for i in row["hovered"]]
    assert kinds == len(one.conditions) * ["contour", "surface"]
    assert [figure.data[row[name]].type for name in ("flat", "solid")] == ["scatter", "scatter3d"]
    assert figure.layout.meta["logarithmic"] is True


def test_a_plane_that_overflows_in_parts_has_a_surface(one: Results) -> None:
    surface.figure(clean(one, "landscape").sel(condition=["pgd"])).savefig(io.BytesIO())


def test_the_plane_shows_the_networks_of_a_trajectory_and_says_how_far_off_they_are(one: Results) -> None:
    drawn = plane.figure(one["landscape"])
    title = drawn.get_suptitle()
    assert "networks: 1 start (50 % of its distance off the plane); 2 half; 3 far" in title
    (path,) = [line for line in drawn.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(path.get_xydata(), [[0.9, -0.6], [0.5, 0.2], [2.0, 0.0]])
    assert [note.get_text() for note in drawn.axes[0].texts if isinstance(note, Annotation)] == [
        "1",
        "2",
        "3",
    ]


def test_the_networks_of_a_trajectory_lie_on_the_surface_and_none_beyond_it(one: Results) -> None:
    _, flat, solid, path = surface.interactive(one["landscape"]).data[:4]
    at = [np.argmin(np.abs(solid.x - 0.5)), np.argmin(np.abs(solid.y - 0.25))]
    assert path.z[1] == pytest.approx(solid.z[at[1]][at[0]], rel=0.1)
    assert np.isnan(path.z[2])
    np.testing.assert_allclose([flat.x, flat.y], [[0.9, 0.5, 2.0], [-0.6, 0.2, 0.0]])
    assert path.visible == flat.visible == solid.visible


def test_of_a_long_trajectory_the_table_has_the_names(one: Results) -> None:
    long = clean(one, "landscape").isel(waypoint=[0] * 7).assign_coords(waypoint=[*"abcdefg"])
    assert waypoints(long).startswith("networks 1 to 7: the trajectory")


def test_the_plane_has_a_menu_of_conditions(one: Results) -> None:
    (menu,) = surface.interactive(one["landscape"]).layout.updatemenus
    assert [button.label for button in menu.buttons] == list(one.conditions)
    # Contours and surface, each with the trajectory; the two marks are of all.
    assert menu.buttons[1].args[0]["visible"] == 4 * [False] + 4 * [True] + 12 * [False] + 2 * [True]


def test_alignment_leaves_clean_out_and_marks_what_did_not_move(one: Results) -> None:
    ax = axes()
    assert len(alignment.plot(clean(one, "features"), ax)) == 4 * 2
    assert [line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 2] == [1.0]
    assert len(alignment.plot(clean(one, "features"), axes(), measures.TO_REFERENCE.measures[0])) == 5 * 2


def test_a_missing_condition_keeps_the_colours_of_the_others(one: Results) -> None:
    part = one["accuracy"].sel(condition=["clean", "domain:sketch"])
    results = Results(one.folder, one.manifests, {"accuracy": part})
    ((_, data, _),) = pictures(results)
    assert list(data["condition"].values) == list(one.conditions)
    colours = [trace.marker.color for trace in accuracy.interactive(data).data[:5]]
    assert colours == [style.looks(one.conditions)[name].color for name in one.conditions]


def test_the_spectrum_says_of_what_it_is(one: Results) -> None:
    data = one["curvature"].copy(deep=True)
    assert spectrum.figure(data).axes[0].get_ylabel() == "Hessian eigenvalue (nats)"
    data["matrix"].loc[{"condition": "pgd"}] = "gauss-newton"
    assert spectrum.interactive(data).layout.yaxis.title.text == "eigenvalue (nats)"


def test_a_density_that_is_nowhere_known_is_drawn_empty(one: Results) -> None:
    data = one["curvature"].copy(deep=True)
    for name in (
        "density_at",
        "density",
        "density_low",
        "density_high",
        "cdf",
        "cdf_low",
        "cdf_high",
        "density_width",
    ):
        data[name] = data[name] * np.nan
    assert not density.figure(data).axes[0].lines[1:]
    assert not density.interactive(data).data


def test_a_path_has_the_line_between_its_ends_and_its_barrier(one: Results) -> None:
    ax = axes()
    data = clean(one, "paths").sel(path="linear")
    artists = paths.plot(data, ax)
    assert len(artists) == 4 * 5
    _, curve, straight, upright = artists[:4]
    loss, t = data["loss"].sel(condition="clean").values, data["t"].values
    np.testing.assert_array_equal(curve.get_ydata(), loss)  # type: ignore[union-attr]
    np.testing.assert_allclose(straight.get_ydata(), loss[0] + t * (loss[-1] - loss[0]))  # type: ignore[union-attr]
    ((x, low), (_, high)) = upright.get_segments()[0]  # type: ignore[union-attr]
    assert (x, high - low) == (0.5, pytest.approx(float(data["barrier"].sel(condition="clean"))))


def test_features_along_paths_have_panels_only_where_they_were_compared(one: Results, two: Results) -> None:
    titles = [ax.get_title(loc="left") for ax in paths.figure(one["paths"]).axes]
    assert titles == ["linear", "bezier:steps=200", *["bezier:steps=200"] * 2]
    labels = [ax.get_ylabel() for ax in paths.figure(one["paths"]).axes]
    assert labels == ["cross-entropy (nats)", "", "CKA to reference", "CKA to network"]
    drawn = paths.figure(two["paths"]).axes
    assert [ax.get_title(loc="left") for ax in drawn][:2] == ["ft-s0: linear", "ft-s0: bezier:steps=200"]
    without = one["paths"].drop_vars(["cka_to_start", "cka_to_end"])
    assert len(paths.figure(without).axes) == 2
    assert [a.text for a in paths.interactive(without).layout.annotations] == ["linear", "bezier:steps=200"]
    hidden = {name: loss.where(loss["t"] != 0.5) for name, loss in without[["loss"]].items()}
    assert len(paths.plot(without.assign(hidden).isel(checkpoint=0, path=0), axes())) == 20
