"""Every kind of picture, of one checkpoint and of two, in both libraries."""

import matplotlib.figure
import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer

from geomlab.plots import accuracy, alignment, layers, line, plane, spectrum, style
from geomlab.render.catalog import KINDS, Kind, pictures
from geomlab.results import Results
from tests.synthetic import LAYERS

IDS = [kind.name for kind in KINDS]


def clean(results: Results, measurement: str) -> xr.Dataset:
    return results[measurement].isel(checkpoint=0)


def axes(width: float = 3.25) -> matplotlib.figure.Axes:  # type: ignore[name-defined]
    return style.new_figure(width, 2.5).subplots()


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_a_figure_of_one_and_of_two_checkpoints_draws(kind: Kind, one: Results, two: Results) -> None:
    for results in (one, two):
        figure = kind.figure(results[kind.measurement], "Title")
        assert isinstance(figure, matplotlib.figure.Figure)
        assert figure.get_size_inches()[0] in (style.COLUMN, style.PAGE)
        style.settle(figure)
        assert isinstance(kind.interactive(results[kind.measurement], "Title"), go.Figure)


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_panel_of_a_figure_of_two_has_the_same_scale(kind: Kind, two: Results) -> None:
    figure = style.settle(kind.figure(two[kind.measurement], "Title"))
    by_label: dict[str, set[tuple[float, ...]]] = {}
    for ax in figure.axes:
        by_label.setdefault(ax.get_ylabel(), set()).add((*ax.get_ylim(), ax.get_yscale()))
    assert all(len(scales) == 1 for scales in by_label.values())


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_no_text_leaves_the_figure(kind: Kind, one: Results) -> None:
    figure = style.settle(kind.figure(one[kind.measurement], f"{kind.title}\ngrace-s0, n = 300"))
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02


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
    assert "not converged (hollow): pgd" in [text.get_text() for text in figure.axes[0].texts]
    markers = spectrum.interactive(one["curvature"]).data[1].marker.symbol
    assert [symbol.endswith("-open") for symbol in markers].count(True) == 2


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
