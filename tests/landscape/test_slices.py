from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.data.arrays import Arrays
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.errors import NotFinite
from geomlab.landscape import directions
from geomlab.landscape.slices import Slice, evaluate
from geomlab.risk import sample_losses
from geomlab.rng import generator
from geomlab.stats import group_of
from geomlab.subject import Subject
from tests import models

IMAGES = models.batches(40, 16)
SOURCE = Arrays("tests:images", (IMAGES.images.numpy(), IMAGES.labels.numpy()))


def on(subject: Subject, along: list, points: torch.Tensor) -> Slice:
    return evaluate(subject, {"clean": models.batches()}, along, points)["clean"]


def test_a_slice_is_the_loss_at_its_points_and_moves_nothing() -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    before = params.digest({**subject.weights, **subject.buffers})
    pair = [directions.gaussian(subject.weights, generator(0, axis)) for axis in (0, 1)]
    points = torch.tensor([[0.0, 0.0], [0.5, 0.0], [-0.25, 1.0]], dtype=torch.float64)
    found = on(subject, pair, points)
    for row, (a, b) in enumerate(points.tolist()):
        moved = {n: w + a * pair[0][n] + b * pair[1][n] for n, w in subject.weights.items()}
        logits = subject.at(moved)(batches.images)
        losses = torch.nn.functional.cross_entropy(logits, batches.labels, reduction="none")
        assert float(found.loss[row]) == pytest.approx(float(losses.mean()))
        assert float(found.stderr[row]) == pytest.approx(float(losses.std() / len(losses) ** 0.5))
        assert float(found.accuracy[row]) == float((logits.argmax(1) == batches.labels).double().mean())
        group = group_of(len(losses))
        for number in range(len(found.group_n)):
            assert found.group_loss[row, number] == pytest.approx(float(losses[group == number].mean()))
            assert found.without_each[number, row] == pytest.approx(float(losses[group != number].mean()))
    assert params.digest({**subject.weights, **subject.buffers}) == before


def test_a_slice_of_sample_losses_is_what_they_amount_to() -> None:
    subject, inputs = models.subject(models.convolution()), {"clean": models.batches()}
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    points = torch.linspace(-1, 1, 5).double()[:, None]
    plain = evaluate(subject, inputs, [direction], points)["clean"]
    kept = evaluate(subject, inputs, [direction], points, keep_samples=True)["clean"]
    assert plain.sample_loss.shape == (5, 0)
    assert kept.sample_loss.shape == (5, len(inputs["clean"]))
    made = Slice.of_samples(kept.sample_loss, kept.accuracy, kept.group_accuracy)
    for name, value in vars(plain).items():
        if name != "sample_loss":
            np.testing.assert_array_equal(vars(kept)[name], value)
        np.testing.assert_allclose(vars(made)[name], value, rtol=1e-12)


def test_an_infinite_sample_is_in_its_own_group_alone() -> None:
    losses = np.ones((2, 40))
    losses[1, 3] = np.inf
    found = Slice.of_samples(losses, np.ones(2), np.ones((2, 20)))
    assert np.isinf(found.group_loss[1]).sum() == 1
    assert np.isfinite(found.group_loss[1]).sum() == 19


@pytest.mark.parametrize("build", [models.convolution, models.Attention, models.softmax_regression])
def test_second_difference_of_a_line_is_the_curvature_along_it(build: Callable[[], nn.Module]) -> None:
    subject, batches = models.subject(build()), models.batches()
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    h = 1e-3
    loss = on(subject, [direction], torch.tensor([[-h], [0.0], [h]]).double()).loss
    d = params.flatten(direction)
    curvature = float(d @ Hessian(subject, batches, list(direction)).matvec(d))
    assert float((loss[0] - 2 * loss[1] + loss[2]) / h**2) == pytest.approx(curvature, rel=1e-3)


def test_softmax_regression_is_convex_in_every_slice() -> None:
    subject = models.subject(models.softmax_regression())
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    loss = on(subject, [direction], torch.linspace(-2, 2, 21).double()[:, None]).loss
    assert bool((loss[:-2] - 2 * loss[1:-1] + loss[2:] > 0).all())


def test_overflow_is_kept_as_it_is() -> None:
    subject = models.subject(models.softmax_regression())
    huge = {n: torch.full_like(w, 1e308) for n, w in subject.weights.items()}
    found = on(subject, [huge], torch.tensor([[0.0], [10.0]]).double())
    assert np.isfinite(found.loss).tolist() == [True, False]
    assert np.isfinite(found.without_each[:, 0]).all()
    assert not np.isfinite(found.without_each[:, 1]).any()


def test_conditions_share_the_weights_of_a_point_and_nothing_else() -> None:
    """Together as each alone, to the bit; one pass a condition and point, and the weights made once a point."""
    subject, clean = models.subject(models.convolution()), models.batches()
    inputs = {"clean": clean, "other": models.batches(7, 3)}
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    points = torch.linspace(-1, 1, 5).double()[:, None]
    together = evaluate(subject, inputs, [direction], points)
    for name, batches in inputs.items():
        alone = evaluate(subject, {name: batches}, [direction], points)[name]
        for field, value in vars(alone).items():
            np.testing.assert_array_equal(value, vars(together[name])[field])
    pieces = [evaluate(subject, inputs, [direction], some) for some in points.split(2)]
    for name in inputs:
        joined = Slice.joined([piece[name] for piece in pieces])
        np.testing.assert_array_equal(joined.group_loss, together[name].group_loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_and_small_parameters_are_moved_alike(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one or several as one, with a coordinate for each direction: to the bit."""
    subject = models.subject(models.convolution(), dtype)
    pair = [directions.gaussian(subject.weights, generator(0, axis)) for axis in (0, 1)]
    batches, points = models.batches(20, 8, dtype), torch.tensor([[0.3, -0.7], [-1.0, 0.0]]).double()
    found = []
    for size in (0, 10, 10**6):
        monkeypatch.setattr("geomlab.landscape.slices.SMALL", size)
        found.append(evaluate(subject, {"x": batches}, pair, points)["x"].group_loss)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_an_exception_leaves_the_network_as_it_was() -> None:
    subject = models.subject(models.convolution())
    before = params.digest({**subject.weights, **subject.buffers})
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    calls = []

    def stop(_: Subject) -> Batches:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return models.batches()

    with pytest.raises(KeyboardInterrupt):
        evaluate(subject, {"x": models.batches()}, [direction], torch.ones(5, 1).double(), {"x": stop})
    assert len(calls) == 3
    assert params.digest({**subject.weights, **subject.buffers}) == before


@pytest.mark.parametrize("attack", ["fgsm:eps=0.05", "pgd:eps=0.05,steps=3,restarts=2"])
def test_attacked_anew_the_loss_is_that_of_each_point_s_own_attack(attack: str) -> None:
    """At the centre that of the inputs held fixed, elsewhere that of the condition realised there, which is higher."""
    subject = models.subject(models.convolution())
    clean, condition = parse_conditions(["clean", attack], SOURCE, n=20, seed=0, batch_size=8)
    start = clean.clean(subject)
    inputs = {"clean": start, "attacked": condition.realise(subject, start)}
    direction = directions.gaussian(subject.weights, generator(0, "d"))
    points = torch.tensor([[-1.0], [0.0], [1.0]]).double()
    fixed = evaluate(subject, inputs, [direction], points)
    anew = evaluate(
        subject, inputs, [direction], points, {"attacked": lambda there: condition.realise(there, start)}
    )
    np.testing.assert_array_equal(anew["clean"].loss, fixed["clean"].loss)
    assert anew["attacked"].loss[1] == fixed["attacked"].loss[1]
    for row in (0, 2):
        there = subject.at(directions.plus(subject.weights, direction, float(points[row])))
        losses = sample_losses(there, condition.realise(there, start)).loss
        assert anew["attacked"].loss[row] == pytest.approx(float(losses.mean()))
        assert anew["attacked"].loss[row] > fixed["attacked"].loss[row] > fixed["clean"].loss[row] - 1e-9


def test_where_no_attack_can_be_made_the_loss_is_not_a_number() -> None:
    subject = models.subject(models.softmax_regression(), torch.float32)
    batches = models.batches(20, 8, torch.float32)

    def fails(there: Subject) -> Batches:
        if float(next(iter(there.weights.values())).abs().max()) > 1e10:
            raise NotFinite("overflow")
        return batches

    direction = directions.gaussian(subject.weights, generator(0, "d"))
    found = evaluate(
        subject,
        {"attacked": batches},
        [direction],
        torch.tensor([[0.0], [1e20]]).double(),
        {"attacked": fails},
    )["attacked"]
    assert np.isfinite(found.loss).tolist() == [True, False]
    assert np.isnan(found.group_loss[1]).all()
