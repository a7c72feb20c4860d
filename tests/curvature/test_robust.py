from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.curvature.robust import of_robust_risk
from geomlab.data.attacks import FGSM, PGD, Attack
from geomlab.data.batches import Batches
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

EPS = 0.05
ATTACKS = [FGSM(EPS), PGD(EPS, steps=4, restarts=2)]


def two_classes() -> Subject:
    return models.subject(nn.Sequential(nn.Flatten(), nn.Linear(72, 2)))


def inputs(n: int = 11) -> Batches:
    """Far enough from black and white that the ball is whole."""
    batches = models.batches(n)
    images = 0.3 + 0.4 * batches.images
    return replace(batches, images=images, clean=images, labels=batches.labels % 2)


def starts(attack: Attack, batches: Batches) -> Tensor:
    shape = (attack.restarts, *batches.images.shape)
    return torch.rand(shape, generator=generator(0, "starts"), dtype=torch.float64) * 2 - 1


def closed_form(flat: Tensor, batches: Batches) -> Tensor:
    """The mean of softplus(−y(wᵀx + b) + ε‖w‖₁): with two classes only the difference w of their weights counts."""
    first, second = flat[:144].view(2, 72)
    w, b = second - first, flat[145] - flat[144]
    y = 2.0 * batches.labels - 1
    return nn.functional.softplus(-y * (batches.images.flatten(1) @ w + b) + EPS * w.abs().sum()).mean()


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_robust_risk_of_a_linear_network_has_its_closed_form(attack: Attack) -> None:
    """And away from kinks its Hessian is the one at attacked inputs that are held fixed, though it says otherwise."""
    subject, clean = two_classes(), inputs()
    names, flat = list(subject.weights), params.flatten(subject.weights)
    robust = of_robust_risk(subject, clean, names, attack=attack, starts=starts(attack, clean))
    assert robust.inputs == "recomputed at each point"
    assert robust.loss == pytest.approx(float(closed_form(flat, clean)))
    torch.testing.assert_close(
        robust.gradient, torch.autograd.functional.jacobian(lambda t: closed_form(t, clean), flat)
    )
    dense = torch.autograd.functional.hessian(lambda t: closed_form(t, clean), flat)
    attacked = attack(subject, clean.images, clean.labels, starts(attack, clean))
    held = Hessian(subject, replace(clean, images=attacked), names)
    assert held.inputs == "held fixed"
    for seed in range(5):
        v = torch.randn(146, generator=generator(seed, "v"), dtype=torch.float64)
        product = robust.product(v)
        assert float((product.image - dense @ v).norm()) <= product.error < 1e-7 * float((dense @ v).norm())
        torch.testing.assert_close(held.matvec(v), dense @ v)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_long_step_sees_the_kinks_that_fixed_inputs_do_not(attack: Attack) -> None:
    """Along v the signs of many weights change within the step, which adds the curvature of ‖w‖₁."""
    subject, clean = two_classes(), inputs()
    names, flat, step = list(subject.weights), params.flatten(subject.weights), 1.0
    v = torch.randn(146, generator=generator(0, "v"), dtype=torch.float64)
    u = v / v.norm()

    def slope(t: float) -> Tensor:
        at = torch.autograd.functional.jacobian(lambda x: closed_form(x, clean), flat + t * u)
        assert isinstance(at, Tensor)
        return at

    expected = (slope(step) - slope(-step)) / (2 * step) * v.norm()
    robust = of_robust_risk(subject, clean, names, attack=attack, starts=starts(attack, clean), step=step)
    torch.testing.assert_close(robust.matvec(v), expected)
    attacked = attack(subject, clean.images, clean.labels, starts(attack, clean))
    held = Hessian(subject, replace(clean, images=attacked), names)
    assert float((held.matvec(v) - expected).norm()) > 0.1 * float(expected.norm())


def test_a_kink_nearby_is_stepped_around_or_told() -> None:
    subject, clean = two_classes(), inputs()
    attack = FGSM(EPS)
    flat = params.flatten(subject.weights)
    for distance in (1e-4, 1e-6, 1e-8):
        near = flat.clone()
        near[72] = near[0] + distance  # the difference of the two classes' first weights
        at = subject.at(params.unflatten(near, subject.weights))
        dense = torch.autograd.functional.hessian(lambda t: closed_form(t, clean), near)
        robust = of_robust_risk(at, clean, list(at.weights), attack=attack, starts=starts(attack, clean))
        for seed in range(5):
            v = torch.randn(146, generator=generator(seed, "v"), dtype=torch.float64)
            product = robust.product(v)
            assert float((product.image - dense @ v).norm()) <= product.error


def test_uneven_batches_and_the_same_starts_give_the_same_risk() -> None:
    subject, clean = models.subject(models.convolution()), models.batches()
    attack = PGD(0.1, steps=3, restarts=2)
    noise = starts(attack, clean)
    names = list(subject.weights)
    one, other = (
        of_robust_risk(subject, replace(clean, batch_size=size), names, attack=attack, starts=noise)
        for size in (4, 11)
    )
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    torch.testing.assert_close(one.gradient, other.gradient)
    attacked = attack(subject, clean.images, clean.labels, noise)
    assert one.loss == pytest.approx(Hessian(subject, replace(clean, images=attacked), names).loss)
