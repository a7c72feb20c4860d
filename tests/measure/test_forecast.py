import io
import re
import sys
import time
from pathlib import Path

import pytest
import torch

from geomlab import api, devices
from geomlab.curvature.hessian import Hessian
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.measure import Accuracy, Curvature, Landscape
from geomlab.measure.forecast import Forecast, check_memory, forecast, too_large
from geomlab.rng import generator
from tests import models
from tests.cli import refused, run

SUBJECT = models.subject(models.convolution())
INPUTS = models.batches(40, 16)
GIB = 2**30


def test_products_and_vectors_are_counted() -> None:
    wanted = Curvature(k=3, probes=5, pairs=2, density=(2, 4), parts=(2, 4), max_products=20)
    found = forecast(wanted, SUBJECT, INPUTS)
    fixed = 4 + 5 + 4 + 8 + 3 + 6
    usual, most = fixed + 12 + 12 + 10, fixed + 3 * 20
    assert found.usual / found.most == pytest.approx(usual / most)
    dim = sum(weight.numel() for weight in SUBJECT.weights.values())
    assert found.parts["vectors"] == (21 + 4 + 1) * dim * 8
    kept = Hessian(SUBJECT, INPUTS, list(SUBJECT.weights)).graph_bytes
    for n, count in (
        (40, 3),
        (80, 5),
    ):  # what is kept, the gradients of the batches, and what a product makes of one
        graphs = forecast(wanted, SUBJECT, models.batches(n, 16)).parts["graphs"]
        assert graphs == pytest.approx(kept.of(n + 16, count + 1) - dim * 8)


def test_a_gradient_has_a_graph_too() -> None:
    wanted = Curvature(k=3, matrix="finite-difference")
    one, two = (forecast(wanted, SUBJECT, models.batches(40, size)).parts["graphs"] for size in (10, 20))
    whole = Hessian(SUBJECT, INPUTS, list(SUBJECT.weights)).graph_bytes
    assert 0.1 * whole.a_sample < (two - one) / 10 < whole.a_sample


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton", "finite-difference"])
def test_graphs_that_cannot_be_looked_into_count_as_more_not_less(matrix: str) -> None:
    seen, hidden = (
        forecast(Curvature(k=3, matrix=matrix), models.subject(build()), INPUTS).parts["graphs"]
        for build in (models.OfItsGradient, models.OfItsGradientByFunc)
    )
    assert seen <= hidden <= 5 * seen


def test_more_samples_and_a_small_memory_take_longer() -> None:
    few, many = (forecast(Curvature(), SUBJECT, models.batches(n, 16)).usual for n in (32, 3200))
    assert many > 20 * few
    tight = forecast(Curvature(memory=1e4), SUBJECT, models.batches(3200, 16))
    assert tight.parts["graphs"] < forecast(Curvature(), SUBJECT, models.batches(3200, 16)).parts["graphs"]


@pytest.mark.slow
def test_it_is_right_to_a_factor_of_three() -> None:
    wanted = Curvature(k=5, probes=10, pairs=3, density=(2, 10), parts=(2,), max_products=40)
    subject = api.load(checkpoint_path("ft"))
    (clean,) = parse_conditions(["clean"], open_source("glyphs"), n=100, seed=0, batch_size=256)
    batches = clean.realise(subject)
    found = forecast(wanted, subject, batches)
    start = time.perf_counter()
    wanted(subject, batches, generator(0, "c"))
    took = time.perf_counter() - start
    assert found.usual / 3 < took < 3 * found.most


def test_of_a_landscape_the_points_and_of_other_measures_nothing() -> None:
    assert forecast(Accuracy(), SUBJECT, INPUTS).usual == 0
    few, many = (
        forecast(Landscape(line_points=3, plane_points=side), SUBJECT, INPUTS).usual for side in (3, 31)
    )
    assert many > 10 * few > 0


@pytest.mark.parametrize(
    ("graphs", "vectors", "advice"),
    [
        (8, 1, "a smaller --memory or --batch-size, or --matrix finite-difference"),
        (1, 8, "a smaller --memory, --params visual, lora or a regular expression, or --budget quick"),
    ],
)
def test_what_does_not_fit_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, graphs: int, vectors: int, advice: str
) -> None:
    found = Forecast(1, 2, 9 * GIB, {"graphs": graphs * GIB, "vectors": vectors * GIB})
    monkeypatch.setattr("geomlab.measure.forecast.available_memory", lambda _: 10 * GIB)
    check_memory(found, SUBJECT)
    monkeypatch.setattr("geomlab.measure.forecast.available_memory", lambda _: 4 * GIB)
    told = f"9.0 GiB ({graphs}.0 of graphs, {vectors}.0 of vectors), and 4.0 are free; try {advice}"
    with pytest.raises(UserError, match=re.escape(told)):
        check_memory(found, SUBJECT)


def test_the_command_line_refuses_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("geomlab.measure.forecast.available_memory", lambda _: 1e6)
    out = tmp_path / "out"
    result = run(
        "analyze", str(checkpoint_path("ft")), "--samples", "8", "--measure", "curvature", "--out", out
    )
    refused(result, "would take about", "leave curvature out of --measure")
    assert not out.exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "about 40 s"), (89, "about 89 s"), (700, "about 12 min"), (12600, "about 3.5 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert api.duration(seconds) == words


@pytest.mark.parametrize(
    ("terminal", "seconds", "said"), [(True, 60, True), (False, 60, False), (False, 900, True)]
)
def test_long_runs_are_announced(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds: float, said: bool
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    class Study:
        def remaining(self, store: object) -> tuple[float, float]:
            return seconds, 2 * seconds

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    api.announce([(Study(), None, {})])  # type: ignore[list-item]
    assert ("forecast: about" in stream.getvalue()) == said


def test_memory_that_is_free_is_a_part_of_the_machine() -> None:
    assert 0 < devices.available_memory(torch.device("cpu")) < 2**50


def test_batches_are_too_large_where_smaller_ones_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Curvature(memory=6 * GIB)

    def large(graphs: float, vectors: float, free: float = 100) -> bool:
        monkeypatch.setattr("geomlab.measure.forecast.available_memory", lambda _: free * GIB)
        parts = {"graphs": graphs * GIB, "vectors": vectors * GIB}
        return too_large(Forecast(1, 1, sum(parts.values()), parts), wanted, SUBJECT)

    assert large(6, 4)
    assert not large(4, 3.9)
    assert large(4, 3.9, free=7)
    assert not large(4, 8.1)  # vectors alone are too many
    assert not too_large(Forecast(1, 1, 0, {}), Landscape(), SUBJECT)
