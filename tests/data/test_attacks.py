import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geomlab.data.attacks import FGSM, PGD
from geomlab.data.corruptions import gaussian_noise
from geomlab.errors import UserError
from geomlab.rng import generator
from tests import models

SUBJECT = models.subject(models.convolution())
INPUTS = models.batches(30, 30)


def start(restarts: int = 1) -> torch.Tensor:
    shape = (restarts, *INPUTS.images.shape)
    return (torch.rand(shape, generator=generator(0, "start")) * 2 - 1).double()


def loss(images: torch.Tensor) -> float:
    return float(F.cross_entropy(SUBJECT(images), INPUTS.labels))


@given(eps=st.floats(1e-4, 0.5), steps=st.integers(1, 5), restarts=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_examples_are_valid(eps: float, steps: int, restarts: int) -> None:
    found = PGD(eps, steps, restarts=restarts)(SUBJECT, INPUTS.images, INPUTS.labels, start(restarts))
    assert float((found - INPUTS.images).abs().max()) <= eps + 1e-12
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_stronger_attacks_find_higher_losses() -> None:
    eps = 0.1
    noise = (INPUTS.images + eps * start()[0].sign()).clamp(0, 1)
    fgsm = FGSM(eps)(SUBJECT, INPUTS.images, INPUTS.labels, start())
    pgd = PGD(eps, 20)(SUBJECT, INPUTS.images, INPUTS.labels, start())
    more = PGD(eps, 20, restarts=3)(SUBJECT, INPUTS.images, INPUTS.labels, start(3))
    assert loss(INPUTS.images) < loss(fgsm)
    assert loss(noise) < loss(fgsm) <= loss(pgd) + 1e-6
    assert loss(pgd) <= loss(more) + 1e-9


def test_fgsm_is_one_step_along_the_sign() -> None:
    x = INPUTS.images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(SUBJECT(x), INPUTS.labels, reduction="sum"), x)
    expected = (INPUTS.images + 0.1 * slope.sign()).clamp(0, 1)
    torch.testing.assert_close(FGSM(0.1)(SUBJECT, INPUTS.images, INPUTS.labels, start()), expected)


def test_no_trace_is_left_in_the_network() -> None:
    module = models.convolution().double()
    PGD(0.1)(module, INPUTS.images, INPUTS.labels, start())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_gradient_that_is_not_finite_is_an_error_and_no_zero() -> None:
    def overflowing(images: torch.Tensor) -> torch.Tensor:
        return SUBJECT(images) * (images.sum() * 0 - 1).sqrt()

    with pytest.raises(UserError, match="gradient is not finite"):
        FGSM(0.1)(overflowing, INPUTS.images, INPUTS.labels, start())


@pytest.mark.parametrize("attack", [FGSM(0.1), PGD(0.1)])
@pytest.mark.parametrize("trains", [False, True])
def test_a_network_without_a_gradient_in_the_images_cannot_be_attacked(
    attack: FGSM | PGD, trains: bool
) -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=trains)

    def detached(images: torch.Tensor) -> torch.Tensor:
        return SUBJECT(images.detach()) * weight

    with pytest.raises(UserError, match="no gradient in the images, so the network cannot be attacked"):
        attack(detached, INPUTS.images, INPUTS.labels, start())


def test_noise_grows_with_severity() -> None:
    grey = torch.full((20, 3, 16, 16), 0.5)
    spread = [float(gaussian_noise(grey, s, generator(0, "noise")).std()) for s in range(1, 6)]
    assert spread == sorted(spread)
    assert spread[0] == pytest.approx(0.08, rel=0.05)
