"""Statistics of batch normalisation, taken anew: against torch's own, and on slices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from geomlab import params
from geomlab.batchnorm import reestimate
from geomlab.errors import UserError
from geomlab.measure import Landscape, Paths
from geomlab.plots.axes import moved
from geomlab.risk import sample_losses
from geomlab.subject import Subject
from tests import models

SUBJECT = models.subject(models.convolution())
INPUTS = models.batches(12, 4)


def state(subject: Subject) -> str:
    return params.digest({**subject.module.state_dict(), **subject.weights, **subject.buffers})


def test_they_are_those_of_torch_where_batches_are_even() -> None:
    before = state(SUBJECT)
    found = reestimate(SUBJECT, INPUTS)(SUBJECT)
    theirs = models.convolution().double()
    theirs.load_state_dict({**SUBJECT.weights, **SUBJECT.buffers})
    update_bn([SUBJECT._normalise(images) for images, _ in INPUTS], theirs)
    for name, own in found.buffers.items():
        torch.testing.assert_close(own, theirs.get_buffer(name))
        assert not torch.equal(own, SUBJECT.buffers[name])
    assert state(SUBJECT) == before
    assert not any(layer.training for layer in SUBJECT.module.modules())


class Twice(nn.Module):
    """One layer of batch normalisation, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = (
            nn.BatchNorm2d(models.SHAPE[0]),
            nn.Linear(models.batches().images[0].numel(), 3),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.norm(images) ** 2).flatten(1))


def test_calls_of_one_layer_are_averaged_as_torch_does() -> None:
    subject = models.subject(Twice())
    found = reestimate(subject, INPUTS)(subject)
    theirs = Twice().double()
    theirs.load_state_dict({**subject.weights, **subject.buffers})
    update_bn([subject._normalise(images) for images, _ in INPUTS], theirs)
    for name in ("norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(found.buffers[name], theirs.get_buffer(name))


def test_a_sample_counts_the_same_in_a_smaller_batch() -> None:
    layer = nn.Sequential(
        nn.BatchNorm2d(models.SHAPE[0]), nn.Flatten(), nn.Linear(models.batches().images[0].numel(), 3)
    )
    subject, inputs = models.subject(layer), models.batches(11, 4)
    found = reestimate(subject, inputs)(subject)
    mean = subject._normalise(inputs.images).mean((0, 2, 3))
    torch.testing.assert_close(found.buffers["0.running_mean"], mean)


def test_dropout_stays_off_and_the_network_may_be_elsewhere() -> None:
    net = nn.Sequential(*models.convolution(), nn.Dropout(0.5))
    subject = models.subject(net)
    renew = reestimate(subject, INPUTS)
    elsewhere = subject.at({name: 1.5 * weight for name, weight in subject.weights.items()})
    first, again = renew(elsewhere), renew(elsewhere)
    assert params.digest(first.buffers) == params.digest(again.buffers)
    assert first.weights is elsewhere.weights
    assert params.digest(first.buffers) != params.digest(renew(subject).buffers)
    torch.testing.assert_close(sample_losses(first, INPUTS).loss, sample_losses(again, INPUTS).loss)


def test_a_network_without_them_or_batches_too_small_are_refused() -> None:
    with pytest.raises(UserError, match="--batchnorm anew: network has no batch normalisation"):
        Landscape(batchnorm="anew").check(models.subject(models.softmax_regression()), INPUTS)
    size = models.batches().images[0].numel()
    flat = models.subject(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Linear(size, 3)))
    with pytest.raises(UserError, match=r"has no variance .*; choose another --batch-size"):
        reestimate(flat, models.batches(9, 4))


def test_a_slice_takes_them_at_every_point_and_not_those_of_the_centre() -> None:
    reference = SUBJECT.at({name: 0.5 * weight for name, weight in SUBJECT.weights.items()})
    other = {
        name: 2 * buffer if buffer.is_floating_point() else buffer for name, buffer in SUBJECT.buffers.items()
    }
    along: dict[str, Any] = {"axes": ("reference", "random"), "reference": replace(reference, buffers=other)}
    fixed, anew = (
        models.alone(Landscape(batchnorm=mode, line_points=9, plane_points=3, **along), SUBJECT, INPUTS)
        for mode in ("fixed", "anew")
    )
    renew = reestimate(SUBJECT, INPUTS)
    for step, weights in ((0, SUBJECT.weights), (-1, reference.weights)):
        there = SUBJECT.at(weights)
        for found, network in ((fixed, there), (anew, renew(there))):
            expected = float(sample_losses(network, INPUTS).loss.mean())
            assert float(found["line_loss"].sel(step=step)) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(anew["curvature_by_hessian"]).all()
    assert np.isfinite(fixed["curvature_by_hessian"]).all()
    assert "its buffers, as statistics of batch normalisation, differ" in str(fixed["direction"].values[0])


def test_along_a_path_they_are_taken_anew_at_the_ends_too() -> None:
    start = SUBJECT.at({name: 0.5 * weight for name, weight in SUBJECT.weights.items()}).named("start")
    anew = Paths(start, ("linear", "bezier:steps=2"), batchnorm="anew", count=3)
    inputs = models.batches(40, 8)
    found = anew.together(SUBJECT, {"": inputs}, inputs, models.Kept())[""]
    learnt, held = anew._halves(inputs)
    renew = reestimate(SUBJECT, inputs.take(learnt))
    for t, end in ((0, start), (1, SUBJECT)):
        expected = float(sample_losses(renew(end), inputs.take(held)).loss.mean())
        np.testing.assert_allclose(found["loss"].sel(t=t), expected, rtol=1e-12)
    assert str(found["batchnorm"].item()) == "taken anew on clean inputs at each point"
    with pytest.raises(UserError, match="has no batch normalisation"):
        Paths(start, ("linear",), batchnorm="anew").check(models.subject(models.softmax_regression()), INPUTS)


def test_figures_say_which_they_were() -> None:
    few: dict[str, Any] = {"line_points": 5, "plane_points": 3}
    for mode, words in (
        ("fixed", "those of the checkpoint"),
        ("anew", "taken anew on clean inputs at each point"),
    ):
        found = models.alone(Landscape(batchnorm=mode, **few), SUBJECT, INPUTS).expand_dims(
            condition=["clean"]
        )
        assert moved(found) == f"statistics of batch normalisation: {words}"
    without = models.alone(Landscape(**few), models.subject(models.softmax_regression()), INPUTS)
    assert moved(without.expand_dims(condition=["clean"])) == ""
