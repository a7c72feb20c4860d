import pytest
import torch

from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.landscape import directions
from geomlab.landscape.slices import evaluate
from geomlab.rng import generator
from tests import models


def test_filters_get_the_norm_of_the_weights_and_vectors_stay() -> None:
    weights = models.subject(models.convolution()).weights
    direction = directions.filter_normalised(weights, generator(0, "d"))
    assert list(direction) == list(weights)
    for name, tensor in direction.items():
        if tensor.ndim < 2:
            assert not tensor.any()
        else:
            torch.testing.assert_close(tensor.flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1))
    again = directions.filter_normalised(weights, generator(0, "d"))
    assert params.digest(again) == params.digest(direction)


def test_adversarial_step_is_rho_of_each_matrix_along_its_gradient() -> None:
    subject, batches = models.subject(models.Attention()), models.batches()
    names = list(subject.weights)
    step = directions.adversarial(subject, batches, names, rho=0.05)
    slope = params.unflatten(
        Hessian(subject, batches, names).gradient, {n: subject.weights[n] for n in names}
    )
    for name, tensor in step.items():
        if tensor.ndim < 2:
            assert not tensor.any()
        else:
            assert float(tensor.norm()) == pytest.approx(0.05 * float(subject.weights[name].norm()))
            cosine = torch.nn.functional.cosine_similarity(tensor.flatten(), slope[name].flatten(), dim=0)
            assert float(cosine) == pytest.approx(1)


def test_a_slice_is_the_loss_at_its_points_and_moves_nothing() -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    before = params.digest({**subject.weights, **subject.buffers})
    pair = [directions.filter_normalised(subject.weights, generator(0, axis)) for axis in (0, 1)]
    points = torch.tensor([[0.0, 0.0], [0.5, 0.0], [-0.25, 1.0]], dtype=torch.float64)
    found = evaluate(subject, batches, pair, points)
    for row, (a, b) in enumerate(points.tolist()):
        moved = {n: w + a * pair[0][n] + b * pair[1][n] for n, w in subject.weights.items()}
        logits = subject.at(moved)(batches.images)
        losses = torch.nn.functional.cross_entropy(logits, batches.labels, reduction="none")
        assert float(found.loss[row]) == pytest.approx(float(losses.mean()))
        assert float(found.stderr[row]) == pytest.approx(float(losses.std() / len(losses) ** 0.5))
        assert float(found.accuracy[row]) == float((logits.argmax(1) == batches.labels).double().mean())
    assert params.digest({**subject.weights, **subject.buffers}) == before


@pytest.mark.parametrize("build", [models.convolution, models.Attention, models.softmax_regression])
def test_second_difference_of_a_line_is_the_curvature_along_it(build: type) -> None:
    subject, batches = models.subject(build()), models.batches()
    direction = directions.filter_normalised(subject.weights, generator(0, "d"))
    h = 1e-3
    loss = evaluate(subject, batches, [direction], torch.tensor([[-h], [0.0], [h]]).double()).loss
    d = params.flatten(direction)
    curvature = float(d @ Hessian(subject, batches, list(direction)).matvec(d))
    assert float((loss[0] - 2 * loss[1] + loss[2]) / h**2) == pytest.approx(curvature, rel=1e-3)


def test_softmax_regression_is_convex_in_every_slice() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    direction = directions.filter_normalised(subject.weights, generator(0, "d"))
    loss = evaluate(subject, batches, [direction], torch.linspace(-2, 2, 21).double()[:, None]).loss
    assert bool((loss[:-2] - 2 * loss[1:-1] + loss[2:] > 0).all())


def test_overflow_is_kept_as_it_is() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    huge = {n: torch.full_like(w, 1e308) for n, w in subject.weights.items()}
    found = evaluate(subject, batches, [huge], torch.tensor([[0.0], [10.0]]).double())
    assert torch.isfinite(found.loss).tolist() == [True, False]
