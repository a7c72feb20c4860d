"""The figure of the bound: what is drawn is what the cells say, also where a logarithm has none of it."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from geomlab.plots import bound, style
from geomlab.plots.terms import clean, curves, limits, remark
from geomlab.results.store import _join
from tests.synthetic import bound as cell

CONDITIONS = ("clean", "pgd", "domain:sketch")
SWEPT: dict[str, Any] = {"trained_on": (100, 10_000, 1_000_000), "known": False}


def joined(**parts: xr.Dataset) -> xr.Dataset:
    return _join({name: {"": part} for name, part in parts.items()})


def negative(one: xr.Dataset) -> xr.Dataset:
    return one.assign(sharpness=-one["sharpness"], trace=-one["trace"], sigma_best=np.nan * one["sigma_best"])


def drawn(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts if text.get_text()]


def test_bands_are_the_interval_and_what_is_swept() -> None:
    one = clean(joined(a=cell(CONDITIONS, 1.0, **SWEPT)).sel(checkpoint="a"))
    near, sharp, far = curves(one, one["sigma"].values)
    np.testing.assert_allclose(near.least, one["proximity"][2])
    np.testing.assert_allclose(near.value, one["proximity"][1])
    np.testing.assert_allclose(near.most, one["proximity"][0])
    np.testing.assert_allclose(sharp.value, one["sharpness"])
    np.testing.assert_allclose(sharp.high - sharp.value, 1.96 * one["sharpness_stderr"], rtol=1e-4)
    np.testing.assert_allclose(sharp.least, sharp.most)
    np.testing.assert_allclose([far.least[0], far.value[0], far.most[0]], [0.05, 5, 500])
    np.testing.assert_allclose(far.high - far.value, 1.96 * 0.25, rtol=1e-4)
    axes = style.new_figure(3, 2).subplots()
    artists = bound.plot(one, axes)
    assert sum(isinstance(artist, PolyCollection) for artist in artists) == 4  # two of (C), one of the others
    assert {text.get_text() for text in axes.texts} >= {"n = 100", "n = 10,000", "n = 1,000,000"}


def test_the_axes_hold_all_that_is_swept_at_the_sigma_reported() -> None:
    one = cell(CONDITIONS, 1.0, **SWEPT)
    (left, right), (low, high) = limits([one])
    assert left < float(one["sigma_best"][2]) < float(one["sigma_best"][0]) < right
    assert low < 0.0127 < 500 < high


def test_a_negative_term_is_dotted_marked_and_never_the_largest() -> None:
    figure = bound.figure(joined(a=negative(cell(CONDITIONS, 1.0))))
    assert {"dotted: −(B), as Tr H < 0", "below 0", "reported"} <= set(drawn(figure))
    (line,) = [line for line in figure.axes[0].lines if line.get_color() == style.VERMILLION]
    assert line.get_linestyle() == ":"
    assert (line.get_ydata() > 0).all()
    traces = bound.interactive(joined(a=negative(cell(CONDITIONS, 1.0)))).data
    (mine,) = [trace for trace in traces if trace.name and trace.name.startswith("(B)")]
    assert mine.line.dash == "dot"
    assert "−%{y" in mine.hovertemplate


@pytest.mark.parametrize(
    ("changes", "said", "terms"),
    [
        ({"discrepancy": np.nan, "discrepancy_stderr": np.nan}, "(C) is not defined", ["(A)", "(B)"]),
        ({"discrepancy": -1}, "dotted: −(C), below 0", ["(A)", "(B)", "(C)"]),
        ({"drift": 0, "proximity": 0}, "(A) is 0: no drift", ["(B)", "(C)"]),
        ({"drift": np.nan, "proximity": np.nan}, "(A) is not defined", ["(B)", "(C)"]),
    ],
)
def test_what_is_not_shown_is_said(changes: dict[str, float], said: str, terms: list[str]) -> None:
    one = cell(CONDITIONS, 1.0)
    one = one.assign({name: factor * one[name] for name, factor in changes.items()})
    assert remark(one) == said
    assert [curve.term for curve in curves(one, one["sigma"].values)] == terms
    figure = bound.figure(joined(a=one))
    assert said in drawn(figure)
    assert bound.interactive(joined(a=one)).data


def test_a_filled_marker_is_the_term_that_may_be_largest_at_the_common_sigma() -> None:
    data = joined(a=cell(CONDITIONS, 1.0), b=cell(CONDITIONS, 40.0))
    axes = style.new_figure(3, 2).subplots()
    bound.plot_at(data, axes)
    filled = [line.get_markerfacecolor() != "white" for line in axes.lines if line.get_marker() != "None"]
    assert filled == [False, False, True, True, False, False]
    symbols = [trace.marker.symbol for trace in bound.interactive(data).data if trace.mode == "markers"]
    assert [not symbol.endswith("-open") for symbol in symbols] == filled


@pytest.mark.parametrize(("count", "panels"), [(1, 2), (2, 3), (3, 4), (5, 6)])
def test_each_checkpoint_has_a_panel_and_the_last_has_all(count: int, panels: int) -> None:
    data = joined(**{f"net{i}": cell(CONDITIONS, 1.0 + i) for i in range(count)})
    figure = style.settle(bound.figure(data))
    assert len(figure.axes) == panels
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert len({ax.get_xlim() for ax in figure.axes[:-1]}) == 1
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == [
        f"net{i}" for i in range(count)
    ]
    assert figure.axes[-1].get_title(loc="left").endswith("n = 1,000")


def test_checkpoints_of_other_samples_and_conditions_keep_to_their_own() -> None:
    data = joined(a=cell(CONDITIONS, 1.0, **SWEPT), b=cell(CONDITIONS[:2], 2.0))
    b = clean(data.sel(checkpoint="b"))
    assert (b.sizes["trained_on"], b.sizes["risk"], b.sizes["pair"]) == (1, 2, 1)
    figure = bound.figure(data)
    assert "n =" not in figure.axes[-1].get_title(loc="left")  # each has its own
