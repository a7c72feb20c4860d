"""Paths of which the points, the length and the loss are known, and training, which must lower a barrier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from geomlab import params
from geomlab.architectures import Network, Preprocessing
from geomlab.data.batches import Batches
from geomlab.landscape import directions, paths
from geomlab.landscape.numbers import barrier
from geomlab.landscape.paths import KINDS, Path, straight, trained
from geomlab.landscape.slices import at_each
from geomlab.rng import generator
from geomlab.subject import Subject, from_network
from tests import models

INPUTS = models.batches(40, 16)
T = torch.linspace(0, 1, 11, dtype=torch.float64).tolist()


def ends(dtype: torch.dtype = torch.float64) -> tuple[Subject, Subject]:
    """Two networks whose parameters and statistics of batch normalisation differ."""
    start = models.subject(models.convolution(), dtype)
    noise = directions.gaussian(start.weights, generator(3, "other"), "none")
    buffers = {n: b + 0.3 if b.is_floating_point() else b + 5 for n, b in start.buffers.items()}
    return start, replace(start.at(directions.plus(start.weights, noise)), buffers=buffers)


def bent(kind: str, start: Subject, end: Subject, bends: int = 1) -> Path:
    """A path with its inner points off the line."""
    line = straight(kind, start, end, list(end.weights), bends)
    noise = [directions.gaussian(end.weights, generator(i, "bend"), "none") for i in range(len(line.inner))]
    moved = (directions.plus(p, n) for p, n in zip(line.inner, noise, strict=True))
    return replace(line, inner=tuple(moved))


def along(path: Path, inputs: Batches = INPUTS) -> np.ndarray:
    return at_each((path.at(t) for t in T), {"": inputs})[""].loss


def state(network: Subject) -> dict[str, Tensor]:
    return {**network.weights, **network.buffers}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_the_networks_to_the_bit(kind: str, dtype: torch.dtype) -> None:
    start, end = ends(dtype)
    path = bent(kind, start, end)
    endless = replace(path, inner=tuple({n: w * torch.inf for n, w in p.items()} for p in path.inner))
    for one in (path, endless):
        for t, network in ((0, start), (1, end)):
            there = state(one.at(t))
            assert all(torch.equal(there[name], own) for name, own in state(network).items())


def test_points_between_are_those_of_the_formulas() -> None:
    start, end = ends()
    a, b = start.weights, end.weights
    for bends in (1, 3):
        path = bent("piecewise", start, end, bends)
        for i, bend in enumerate(path.inner, start=1):
            there = path.weights(i / (bends + 1))
            for name, own in bend.items():
                torch.testing.assert_close(there[name], own)
        half = path.weights(0.5 / (bends + 1))
        torch.testing.assert_close(half["4.weight"], (a["4.weight"] + path.inner[0]["4.weight"]) / 2)
    curve = bent("bezier", start, end)
    (middle,) = curve.inner
    for name in a:
        wanted = 0.49 * a[name] + 0.42 * middle[name] + 0.09 * b[name]
        torch.testing.assert_close(curve.weights(0.3)[name], wanted)
    at = curve.at(0.3).buffers
    torch.testing.assert_close(at["1.running_var"], start.buffers["1.running_var"] + 0.3 * 0.3)
    assert torch.equal(at["1.num_batches_tracked"], start.buffers["1.num_batches_tracked"])
    assert torch.equal(curve.at(0.7).buffers["1.num_batches_tracked"], end.buffers["1.num_batches_tracked"])


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_a_path_is_the_straight_line(kind: str) -> None:
    start, end = ends()
    path = straight(kind, start, end, list(end.weights))
    np.testing.assert_allclose(along(path), along(straight("linear", start, end, list(end.weights))))
    moved = {name: end.weights[name] - start.weights[name] for name in end.weights}
    assert path.distance == pytest.approx(directions.norm(moved))
    assert path.length == pytest.approx(path.distance)


def test_the_length_of_a_curve_is_the_integral_of_its_speed() -> None:
    start, end = ends()
    (middle,) = bent("bezier", start, end).inner
    a, b, c = (params.flatten(point).double() for point in (start.weights, middle, end.weights))
    assert bent("piecewise", start, end).length == pytest.approx(float((b - a).norm() + (c - b).norm()))
    exact, _ = quad(lambda t: float((2 * (1 - t) * (b - a) + 2 * t * (c - b)).norm()), 0, 1)
    assert bent("bezier", start, end).length == pytest.approx(exact, rel=1e-6)


def test_parameters_that_do_not_move_are_the_end_s_own() -> None:
    start, end = ends()
    there = bent("bezier", start, end)
    there = replace(there, names=["4.weight"]).at(0)
    assert torch.equal(there.weights["4.weight"], start.weights["4.weight"])
    assert torch.equal(there.weights["0.weight"], end.weights["0.weight"])


def test_softmax_regression_is_convex_along_the_line_and_has_no_barrier() -> None:
    end = models.subject(models.softmax_regression())
    start = end.at({name: -w for name, w in end.weights.items()})
    loss = along(straight("linear", start, end, list(end.weights)))
    assert bool((loss[:-2] - 2 * loss[1:-1] + loss[2:] > 0).all())
    assert barrier(np.array(T), loss, 0, 1) == 0
    assert loss[5] == pytest.approx(np.log(models.CLASSES))  # all weights are zero there


def rings(n: int, seed: int) -> Batches:
    """Three classes, rings in the plane of two pixels, which no linear map tells apart; other pixels are black."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.zeros((n, *models.SHAPE), dtype=torch.float64)
    images[:, 0, 0, :2] = torch.rand((n, 2), generator=rng, dtype=torch.float64)
    labels = ((images[:, 0, 0, :2] - 0.5).norm(dim=1) / 0.2).long().clamp(max=models.CLASSES - 1)
    return Batches(images, labels, 64, images, labels, True)


def learnt(seed: int) -> Subject:
    """A network trained on rings from its own start."""
    inputs = rings(600, 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    adam = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        nn.functional.cross_entropy(module(inputs.images), inputs.labels).backward()
        adam.step()
    return from_network(Network(module.eval(), Preprocessing())).to("cpu", torch.float64)


def test_training_lowers_the_barrier_between_networks_trained_apart() -> None:
    start, end = learnt(0), learnt(1)
    names, judged = list(end.weights), rings(600, 2)
    high = barrier(np.array(T), along(straight("linear", start, end, names), judged), 0, 1)
    assert high > 0.8
    for kind in ("bezier", "piecewise"):
        line = straight(kind, start, end, names)
        path, left_out = trained(line, rings(600, 3), generator(0, kind), steps=200)
        assert barrier(np.array(T), along(path, judged), 0, 1) < 0.3 * high
        assert left_out == 0


def test_training_repeats_itself_to_the_bit_and_changes_neither_network() -> None:
    start, end = ends(torch.float32)
    inputs = models.batches(100, 16, torch.float32)
    before, random = [params.digest(state(one)) for one in (start, end)], torch.get_rng_state()
    line = straight("bezier", start, end, list(end.weights))
    first, again, other = (
        trained(line, inputs, generator(seed, "p"), steps=5)[0].inner[0] for seed in (0, 0, 1)
    )
    assert params.digest(first) == params.digest(again) != params.digest(other)
    assert params.digest(first) != params.digest(line.inner[0])
    assert [params.digest(state(one)) for one in (start, end)] == before
    assert torch.equal(torch.get_rng_state(), random)


def test_an_exception_in_training_leaves_all_networks_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    start, end = ends()
    line = straight("piecewise", start, end, list(end.weights), 2)
    calls: list[int] = []

    def stops(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return value_and_gradient(*arguments)  # type: ignore[arg-type]

    value_and_gradient = paths.value_and_gradient
    monkeypatch.setattr(paths, "value_and_gradient", stops)
    before = [params.digest(one) for one in (state(start), state(end), *line.inner)]
    with pytest.raises(KeyboardInterrupt):
        trained(line, INPUTS, generator(0, "p"), steps=5)
    assert [params.digest(one) for one in (state(start), state(end), *line.inner)] == before


def test_tensors_in_which_the_ends_agree_stay() -> None:
    start, end = ends()
    end = end.at({"4.bias": start.weights["4.bias"]})
    path, _ = trained(straight("bezier", start, end, list(end.weights)), INPUTS, generator(0, "p"), steps=3)
    torch.testing.assert_close(path.inner[0]["4.bias"], start.weights["4.bias"], rtol=1e-15, atol=0)
    same, _ = trained(straight("bezier", start, start, list(end.weights)), INPUTS, generator(0, "p"), steps=3)
    assert same.length == pytest.approx(0, abs=1e-12)


def test_a_loss_that_overflows_on_the_way_is_kept_and_its_gradients_are_left_out() -> None:
    """Two linear maps, one large where the other is small: their product is the same at both ends."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 4, bias=False), nn.Linear(4, 3, bias=False))
    network = models.subject(module, torch.float32)
    first, last = network.weights
    start, end = (
        network.at({first: network.weights[first] * size, last: network.weights[last] / size})
        for size in (1e25, 1e-25)
    )
    path, left_out = trained(
        straight("bezier", start, end, [first, last]),
        models.batches(20, 8, torch.float32),
        generator(0, "p"),
        steps=6,
    )
    loss = along(path, models.batches(20, 8, torch.float32))
    assert left_out == 6
    assert np.isfinite(loss[[0, -1]]).all()
    assert not np.isfinite(loss[5])
    assert all(bool(w.isfinite().all()) for w in path.inner[0].values())
