from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geomlab import stats
from geomlab.features import group_products, layer_pairs
from geomlab.features.group_products import Layer, Products, of_features, of_grams
from geomlab.features.intervals import Interval, with_interval
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.similarity import cka
from geomlab.rng import generator
from tests.features.pairs import pair

Layers = list[torch.Tensor]
WAYS = (of_grams, of_features)
FIELDS = ("value", "stderr", "low", "high")


def layers(n: int, offset: float = 1000.0) -> tuple[Layers, Layers]:
    """Three layers and two, of widths below and above n, the one a copy of the other's."""
    (a, b), (c, d) = pair(n, 7, 0), pair(n, 90, 1)
    return [f + offset for f in (a, c, a[:, :4] + c[:, :4])], [f + offset for f in (b + 0.1 * d[:, :10], c)]


def check(found: Interval, xs: Layers, ys: Layers, *, pairs: bool = True, rel: float = 1e-10) -> None:
    assert found.value.shape == (len(xs), len(ys))
    for i, j in np.ndindex(len(xs), len(ys)):
        one = with_interval(cka, xs[i], ys[j], pairs=pairs)
        for name in FIELDS:
            expected = pytest.approx(float(getattr(one, name)), rel=rel, abs=1e-13, nan_ok=True)
            assert float(getattr(found, name)[i, j]) == expected, (i, j, name)


@pytest.mark.parametrize("n", [41, 120])
@pytest.mark.parametrize("way", WAYS)
def test_each_pair_has_the_interval_it_has_alone(
    way: Callable[..., Products], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_pairs, "products", way)
    xs, ys = layers(n)
    check(cka_of_layers(xs, ys), xs, ys)


@pytest.mark.parametrize("way", WAYS)
def test_small_blocks_change_nothing(way: Callable[..., Products], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_pairs, "products", way)
    xs, ys = layers(61)
    whole = cka_of_layers(xs, ys)
    monkeypatch.setattr(group_products, "_ENTRIES", 61 * 5 * 7)
    monkeypatch.setattr(group_products, "_ROWS", 2)
    parts = cka_of_layers(xs, ys)
    for name in FIELDS:
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-10, atol=1e-13)


def test_the_cheaper_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def noted(way: Callable[..., Products]) -> Callable[..., Products]:
        def taking(*args: Any) -> Products:
            taken.append(way.__name__)
            return way(*args)

        return taking

    for way in WAYS:
        monkeypatch.setattr(group_products, way.__name__, noted(way))
    for n, d in ((50, 30), (500, 8)):
        xs = [Layer.of(torch.randn(n, d, generator=generator(0, "x")), torch.arange(n))] * 3
        group_products.products(xs, xs, [n // 2, n // 2])
    assert taken == ["of_grams", "of_features"]


def test_products_are_those_of_whole_gram_matrices() -> None:
    (x, y), order = pair(30, 7), torch.randperm(30, generator=generator(0, "order"))
    k, m = ((f[order] - f.mean(0)) @ (f[order] - f.mean(0)).T for f in (x, y))
    both = (k * m).fill_diagonal_(0)
    for way in WAYS:
        found = way([Layer.of(x, order)], [Layer.of(y, order)], [10, 20]).between[..., 0, 0]
        for g, rows in enumerate((slice(10), slice(10, 30))):
            for h, columns in enumerate((slice(10), slice(10, 30))):
                assert float(found[g, h]) == pytest.approx(float(both[rows, columns].sum()), rel=1e-10)


def test_fewer_samples_than_groups_and_other_groups() -> None:
    xs, ys = layers(9)
    check(cka_of_layers(xs, ys), xs, ys, rel=1e-8)
    xs, ys = layers(40)
    one = with_interval(cka, xs[0], ys[1], groups=5, pairs=True)
    assert float(cka_of_layers(xs, ys, groups=5).stderr[0, 1]) == pytest.approx(float(one.stderr))


def test_a_layer_with_itself_is_one_without_error() -> None:
    _, ys = layers(60)
    found = cka_of_layers(ys, [2 * ys[0] + 1, ys[1]])
    assert found.value.diag().tolist() == pytest.approx([1, 1], abs=1e-10)
    assert float(found.stderr.diag().max()) < 1e-10


def test_only_pairs_with_a_constant_layer_have_none() -> None:
    xs, ys = layers(40, 0.0)
    xs[1] = torch.full_like(xs[1], 0.1)
    found = cka_of_layers(xs, ys)
    for name in FIELDS:
        assert bool(getattr(found, name)[1].isnan().all())
        assert bool(getattr(found, name)[[0, 2]].isfinite().all())


def test_a_layer_that_one_group_makes_has_a_value_and_no_interval() -> None:
    xs, ys = layers(40, 0.0)
    alone = stats.group_of(40) == 3
    xs[0] = torch.where(torch.from_numpy(alone)[:, None], xs[0], 0.5)
    check(cka_of_layers(xs, ys), xs, ys)
    assert bool(cka_of_layers(xs, ys).value.isfinite().all())
    assert bool(cka_of_layers(xs, ys).stderr[0].isnan().all())


def test_features_in_files_of_half_precision(tmp_path: Path) -> None:
    xs, ys = (
        [
            torch.from_file(str(tmp_path / f"{side}{i}"), shared=True, size=f.numel(), dtype=torch.half)
            .view(f.shape)
            .copy_(f)
            for i, f in enumerate(every)
        ]
        for side, every in zip("xy", layers(48, 3.0), strict=True)
    )
    check(cka_of_layers(xs, ys), xs, ys)


def test_too_few_samples_or_groups_are_refused() -> None:
    xs, ys = layers(7)
    with pytest.raises(ValueError, match="the same n >= 8 samples in both, got 7 and 7"):
        cka_of_layers(xs, ys)
    xs, ys = layers(40)
    with pytest.raises(ValueError, match="the same n >= 8 samples in both, got 40 and 39"):
        cka_of_layers(xs, [ys[0], ys[1][1:]])
    with pytest.raises(ValueError, match="at least 4 groups of samples, got 3"):
        cka_of_layers(xs, ys, groups=3)
