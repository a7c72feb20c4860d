import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomlab.features.similarity import cka, gram_drift
from geomlab.features.streamed import Sums
from geomlab.rng import generator
from tests.features.pairs import pair, rotation

Layers = list[torch.Tensor]


def layers(n: int = 60, offset: float = 0.0) -> tuple[Layers, Layers]:
    """Three layers of one network and two of another, of widths below and above n."""
    (a, b), (c, d), (e, _) = pair(n, 7, 0), pair(n, 20, 1), pair(n, 90, 2)
    return [f + offset for f in (a, c, a @ torch.eye(7, 4).double() + c[:, :4])], [
        f + offset for f in (b + 0.1 * d[:, :10], e)
    ]


def streamed(xs: Layers, ys: Layers, sizes: list[int]) -> Sums:
    batches = list(zip(*(f.split(sizes) for f in [*xs, *ys]), strict=True))
    sums = Sums.of(batches[0][: len(xs)], batches[0][len(xs) :])
    for batch in batches[1:]:
        sums.add(batch[: len(xs)], batch[len(xs) :])
    return sums


def at_once(measure, xs: Layers, ys: Layers) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return torch.stack([torch.stack([measure(x, y) for y in ys]) for x in xs])


def check(sums: Sums, xs: Layers, ys: Layers, rel: float = 1e-10) -> None:
    assert torch.allclose(sums.cka(), at_once(cka, xs, ys), rtol=rel, atol=rel)
    biased = at_once(lambda x, y: cka(x, y, debias=False), xs, ys)
    assert torch.allclose(sums.cka(debias=False), biased, rtol=rel, atol=rel)
    assert torch.allclose(sums.gram_drift(), at_once(gram_drift, xs, ys), rtol=rel, atol=rel)


@given(cuts=st.sets(st.integers(1, 59), max_size=8), order=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_any_split_into_batches_gives_the_result_of_all_samples(cuts: set[int], order: int) -> None:
    mixed = torch.randperm(60, generator=generator(order, "order"))
    xs, ys = ([f[mixed] for f in side] for side in layers())
    ends = [0, *sorted(cuts), 60]
    check(streamed(xs, ys, [b - a for a, b in pairwise(ends)]), xs, ys)


def test_batches_that_come_sorted_lose_no_digits() -> None:
    """A class a batch, far from each other, the first of one sample only."""
    xs, ys = layers(61)
    far = torch.cat([torch.zeros(1), torch.arange(1, 61) // 10 * 100.0]).double()[:, None]
    xs, ys = ([f + far for f in side] for side in (xs, ys))
    check(streamed(xs, ys, [1, *[10] * 6]), xs, ys)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_offset_ruins_nothing(dtype: torch.dtype) -> None:
    xs, ys = ([f.to(dtype) for f in side] for side in layers(60, 1000.0))
    sums = streamed(xs, ys, [7, 13, 40])
    check(sums, xs, ys, 1e-10)
    near = streamed(*layers(), [60])
    rel = 1e-3 if dtype == torch.float32 else 1e-9  # fp32 features near 1000 are right to 6e-5
    assert torch.allclose(sums.cka(), near.cka(), rtol=rel, atol=rel)
    assert torch.allclose(sums.gram_drift(), near.gram_drift(), rtol=rel, atol=rel)


def test_sums_of_parts_add_to_those_of_all() -> None:
    xs, ys = layers()
    first, second = (
        streamed([f[rows] for f in xs], [f[rows] for f in ys], [10, 20])
        for rows in (slice(30), slice(30, 60))
    )
    both = first + second
    assert both.n == 60
    check(both, xs, ys)
    check(second + first, xs, ys)
    assert first.n == second.n == 30  # as they were
    check(first, [f[:30] for f in xs], [f[:30] for f in ys])


def test_the_layers_of_one_network_with_themselves() -> None:
    xs, _ = layers()
    sums = streamed(xs, xs, [25, 35])
    assert torch.allclose(sums.cka(), sums.cka().T, rtol=1e-12)
    assert sums.cka().diag().tolist() == pytest.approx([1.0] * 3, abs=1e-12)
    assert sums.gram_drift().diag().tolist() == pytest.approx([0.0] * 3, abs=1e-7)


def test_invariant_to_rotation_translation_and_scale_of_each_layer() -> None:
    xs, ys = layers()
    moved = [(i + 0.1) * f @ rotation(f.shape[1], i) + 3 for i, f in enumerate(xs)]
    here, there = streamed(xs, ys, [30, 30]), streamed(moved, ys, [50, 10])
    assert torch.allclose(here.cka(), there.cka(), rtol=1e-10)
    assert torch.allclose(here.gram_drift(), there.gram_drift(), rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_small_and_large_features_are_features(scale: float) -> None:
    xs, ys = layers()
    sums = streamed([scale * f for f in xs], [scale * f for f in ys], [30, 30])
    check(sums, xs, ys)


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_a_constant_layer_is_undefined(value: float, dtype: torch.dtype) -> None:
    xs, ys = ([f.to(dtype) for f in side] for side in layers())
    xs[1] = torch.full_like(xs[1], value)
    xs[1] *= 1 + torch.finfo(dtype).eps * torch.randn(xs[1].shape, generator=generator(0, "eps")).to(dtype)
    sums = streamed(xs, ys, [20, 40])
    for found in (sums.cka(), sums.cka(debias=False), sums.gram_drift()):
        assert bool(found[1].isnan().all())
        assert bool(found[[0, 2]].isfinite().all())


def test_a_layer_with_a_feature_that_is_no_number_leaves_the_others() -> None:
    xs, ys = layers()
    xs[0][5, 2] = math.nan
    sums = streamed(xs, ys, [20, 40])
    assert bool(sums.cka()[0].isnan().all())
    assert torch.allclose(sums.cka()[1:], at_once(cka, xs[1:], ys), rtol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("one", [True, False])
def test_products_in_single_precision_are_off_by_no_more_than_rounding(offset: float, one: bool) -> None:
    """Of more samples than are summed in single precision at once, sorted by class."""
    (a, b), classes = pair(3000, 40, 0), (torch.arange(3000) // 1000).double()[:, None]
    xs, ys = [f + offset + classes for f in (a, a[:, :9] + b[:, :9])], [b + offset]
    batches = list(zip(*(f.split([250, 2000, 750]) for f in [*xs, *ys]), strict=True))
    parts = [(batch[:2], None if one else batch[2:]) for batch in batches]
    single, double = (Sums.of(*parts[0], dtype=dtype) for dtype in (torch.float32, torch.float64))
    for sums in (single, double):
        for part in parts[1:]:
            sums.add(*part)
    assert single.n == 3000
    assert torch.allclose(single.cka(), double.cka(), rtol=0, atol=1e-6)
    assert not torch.allclose(single.cka(), double.cka(), rtol=0, atol=1e-12)
    assert torch.allclose(single.gram_drift(), double.gram_drift(), rtol=0, atol=1e-3)


def test_products_are_in_single_or_double_precision() -> None:
    with pytest.raises(ValueError, match=r"torch\.float64 or torch\.float32, got torch\.float16"):
        Sums.of(layers()[0], dtype=torch.float16)


def test_half_precision_is_summed_in_full() -> None:
    xs, ys = ([f.half() for f in side] for side in layers())
    check(streamed(xs, ys, [20, 40]), xs, ys)


def test_memory_does_not_grow_with_the_samples() -> None:
    def held(sums: Sums) -> int:
        return sum(m.numel() for m in [sums.between, *sums.within[0], *sums.within[1]])

    xs, ys = layers(200)
    assert held(streamed(xs, ys, [20] * 10)) == held(streamed(*layers(20), [20]))


def test_too_few_samples_are_refused() -> None:
    xs, ys = layers(3)
    with pytest.raises(ValueError, match="expected n >= 4 samples, got 3"):
        streamed(xs, ys, [3]).cka()
    xs, ys = layers(2)
    with pytest.raises(ValueError, match="expected n >= 3 samples, got 2"):
        streamed(xs, ys, [2]).gram_drift()
    with pytest.raises(ValueError, match="at least one sample"):
        Sums.of([xs[0][:0]], [ys[0][:0]])


def test_layers_of_different_samples_are_refused() -> None:
    xs, ys = layers()
    with pytest.raises(ValueError, match=r"the same samples in every layer, got \[59, 60\]"):
        Sums.of(xs, [ys[0], ys[1][1:]])


@pytest.mark.parametrize("panel", [5, 512])
def test_one_network_with_itself_is_two_of_the_same(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomlab.features.streamed._PANEL", panel)
    xs, _ = layers(60, 3.0)
    batches = list(zip(*(f.split([7, 13, 40]) for f in xs), strict=True))
    sums = Sums.of(batches[0])
    for batch in batches[1:]:
        sums.add(batch)
    check(sums, xs, xs)
    assert bool(sums.cka().diagonal() == pytest.approx(1))
    half, rest = Sums.of([f[:30] for f in xs]), Sums.of([f[30:] for f in xs])
    check(half + rest, xs, xs)


def test_one_network_does_not_become_two_nor_two_one() -> None:
    xs, ys = layers()
    with pytest.raises(ValueError, match="as many networks as in the first batch"):
        Sums.of(xs).add(xs, ys)
    with pytest.raises(ValueError, match="as many networks as in the first batch"):
        Sums.of(xs, ys).add(xs)
