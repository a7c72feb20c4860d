"""Every kind of picture, of one checkpoint and of two, in both libraries."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from geomlab.plots import accuracy, alignment, layers, line, plane, spectrum, style
from geomlab.render.catalog import KINDS, Kind, pictures
from geomlab.results import Results
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
    assert kind.interactive(one[kind.measurement], "A\nb").layout.title.text == "A<br><sup>b</sup>"
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
    assert ax.get_xlabel() == r"step along $d_0$ (filter-normalised; $\|d_0\| = 0.98\,\|\theta\|$)"
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
    surface = plane.interactive(one["landscape"]).data[0]
    np.testing.assert_allclose(surface.z[3][7], cell["plane_loss"].isel(alpha=7, beta=3))


def test_the_plane_has_a_menu_of_conditions(one: Results) -> None:
    (menu,) = plane.interactive(one["landscape"]).layout.updatemenus
    assert [button.label for button in menu.buttons] == list(one.conditions)
    assert menu.buttons[1].args[0]["visible"] == [False, True, False, False, False]


def test_alignment_leaves_clean_out_and_marks_what_did_not_move(one: Results) -> None:
    artists = alignment.plot(clean(one, "features"), axes())
    assert len(artists) == 4
    assert alignment.plot(clean(one, "features"), axes(), alignment.TO_REFERENCE[0])[0] is not None


def test_a_missing_condition_keeps_the_colours_of_the_others(one: Results) -> None:
    part = one["accuracy"].sel(condition=["clean", "domain:sketch"])
    results = Results(one.folder, one.manifests, {"accuracy": part})
    ((_, data, _),) = pictures(results)
    assert list(data["condition"].values) == list(one.conditions)
    colours = [trace.marker.color for trace in accuracy.interactive(data).data[:5]]
    assert colours == [style.looks(one.conditions)[name].color for name in one.conditions]
