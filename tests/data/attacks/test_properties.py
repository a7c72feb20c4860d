"""What holds of every attack, whatever its settings."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab.architectures import Network, Preprocessing
from geomlab.data.attacks import APGD, FGSM, PGD, FeaturePGD, Single, Worst
from geomlab.errors import NotFinite, UserError
from geomlab.rng import generator
from geomlab.subject import Subject, from_network
from tests import models

CLASSES, N = 5, 12
EPS = {"linf": 0.05, "l2": 0.3}
SMALL: list[Single] = [
    FGSM(0.05),
    *(PGD(eps, 4, norm=norm, restarts=2) for norm, eps in EPS.items()),
    PGD(0.05, 4, loss="dlr", stop=True),
    PGD(0.05, 4, target="least", keep="best"),
    PGD(0.05, 4, loss="dlr", target=2, stop=True),
    *(FeaturePGD(eps, 4, norm=norm) for norm, eps in EPS.items()),
    *(APGD(eps, 9, restarts=2, norm=norm) for norm, eps in EPS.items()),
    APGD(0.05, 9, loss="dlr", stop=False),
    APGD(0.05, 9, loss="dlr-t"),
]
ATTACKS = [*SMALL, Worst((FGSM(0.05), PGD(0.05, 3), APGD(0.05, 5, loss="dlr-t")))]


def network() -> Subject:
    module = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(12, CLASSES))
    return models.subject(module)


SUBJECT = network()
IMAGES = models.batches(N).images
LABELS = SUBJECT(IMAGES).argmax(1)
LABELS[:2] = (LABELS[:2] + 1) % CLASSES  # two that are wrong from the beginning


def starts(attack: Single | Worst, seed: int = 0, restarts: int | None = None) -> Tensor:
    """Of each sample its own, as a condition draws them."""
    count = attack.restarts if restarts is None else restarts

    def one(number: int) -> Tensor:
        noise = generator(seed, "start", number)
        return (torch.rand((count, *IMAGES.shape[1:]), generator=noise) * 2 - 1).double()

    return torch.stack([one(i) for i in range(N)], 1)


def attacked(attack: Single | Worst, rows: list[int] | None = None, seed: int = 0) -> Tensor:
    at = list(range(N)) if rows is None else rows
    return attack(SUBJECT, IMAGES[at], LABELS[at], starts(attack, seed)[:, at])


def losses(images: Tensor) -> Tensor:
    return F.cross_entropy(SUBJECT(images), LABELS, reduction="none")


def size(attack: Single, found: Tensor) -> float:
    norm = getattr(attack, "norm", "linf")
    away = (found - IMAGES).flatten(1)
    return float((away.abs().amax(1) if norm == "linf" else away.norm(dim=1)).max())


@pytest.mark.parametrize("attack", SMALL, ids=str)
@given(eps=st.floats(0, 2), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_examples_are_in_the_ball_and_in_pixel_range(attack: Single, eps: float, seed: int) -> None:
    attack = replace(attack, eps=eps)
    found = attacked(attack, seed=seed)
    assert size(attack, found) <= eps + 1e-12
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@given(order=st.permutations(range(N)), cut=st.integers(1, N - 1))
@settings(max_examples=5, deadline=None)
def test_neither_the_batch_nor_the_order_changes_a_sample(
    attack: Single | Worst, order: list[int], cut: int
) -> None:
    """And so nor does another sample's leaving early."""
    parts = torch.cat([attacked(attack, order[:cut]), attacked(attack, order[cut:])])
    torch.testing.assert_close(parts, attacked(attack)[order])


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_the_same_starts_give_the_same_images_and_others_do_not(attack: Single | Worst) -> None:
    assert torch.equal(attacked(attack), attacked(attack))
    if attack.restarts and not isinstance(attack, Worst):
        assert not torch.equal(attacked(attack), attacked(attack, seed=1))


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_no_trace_is_left_in_the_network_or_the_images(attack: Single | Worst) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES)).double()
    images, before = IMAGES.clone(), IMAGES.clone()
    found = attack(module, images, LABELS, starts(attack))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert not found.requires_grad


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("factor", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_is_an_error_and_no_zero(attack: Single | Worst, factor: float) -> None:
    """Of a single sample among others."""

    def spoiled(images: Tensor) -> Tensor:
        return _Spoil.apply(SUBJECT(images), factor)

    with pytest.raises(NotFinite, match="gradient is not finite"):
        attack(spoiled, IMAGES, LABELS, starts(attack))


class _Spoil(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:
        slope = slope.clone()
        slope[-1] = ctx.factor
        return slope, None


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_network_without_a_gradient_in_the_images_is_refused(attack: Single | Worst) -> None:
    with pytest.raises(UserError, match="no gradient in the images, so the network cannot be attacked"):
        attack(lambda images: SUBJECT(images.detach()), IMAGES, LABELS, starts(attack))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [PGD, APGD])
@given(seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None)
def test_more_restarts_never_lower_the_loss(make: type[PGD] | type[APGD], norm: str, seed: int) -> None:
    noise = starts(FGSM(), seed, restarts=3)
    found = [IMAGES]
    for count in (1, 2, 3):
        attack = make(EPS[norm], 5, restarts=count, norm=norm)
        found.append(replace(attack, stop=False)(SUBJECT, IMAGES, LABELS, noise))
    for fewer, more in pairwise(found):
        assert bool((losses(more) >= losses(fewer) - 1e-12).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(steps=st.integers(1, 8), more=st.integers(1, 8), seed=st.integers(0, 999))
@settings(max_examples=12, deadline=None)
def test_more_steps_never_lower_the_loss_where_the_best_iterate_is_kept(
    norm: str, steps: int, more: int, seed: int
) -> None:
    attack = PGD(EPS[norm], steps, EPS[norm] / 3, norm=norm, keep="best")
    fewer = attacked(attack, seed=seed)
    longer = attacked(replace(attack, steps=steps + more), seed=seed)
    assert bool((losses(longer) >= losses(fewer) - 1e-12).all())
    assert bool((losses(fewer) >= losses(IMAGES) - 1e-12).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [PGD, APGD])
def test_stopping_finds_no_fewer_and_leaves_the_others_as_they_were(
    make: type[PGD] | type[APGD], norm: str
) -> None:
    """Whatever is never fooled took all of its steps, as without stopping."""
    attack = make(EPS[norm], 6, restarts=2, norm=norm)
    if isinstance(attack, PGD):
        attack = replace(attack, keep="best")
    early, late = (attacked(replace(attack, stop=stop)) for stop in (True, False))
    fooled = SUBJECT(early).argmax(1) != LABELS
    assert 0 < int(fooled.sum()) < N
    torch.testing.assert_close(early[~fooled], late[~fooled])
    assert not bool(((SUBJECT(late).argmax(1) != LABELS) & ~fooled).any())
    assert torch.equal(early[:2], IMAGES[:2])  # wrong from the beginning: there is nothing to do


def test_stopping_evaluates_only_what_is_left() -> None:
    seen: list[int] = []

    def counting(images: Tensor) -> Tensor:
        seen.append(len(images))
        return SUBJECT(images)

    attack = PGD(0.05, 6, stop=True)
    attack(counting, IMAGES, LABELS, starts(attack))
    assert seen[0] == N
    assert seen[1] == N - 2
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < seen[1]


def test_the_worst_case_fools_what_any_does_and_keeps_the_first() -> None:
    members = (FGSM(0.04), PGD(0.04, 5), APGD(0.04, 9))
    worst = Worst(members)
    noise = starts(worst)
    found = worst(SUBJECT, IMAGES, LABELS, noise)
    fooled = SUBJECT(found).argmax(1) != LABELS
    at, left, wrong = 0, torch.ones(N, dtype=torch.bool), SUBJECT(IMAGES).argmax(1) != LABELS
    left &= ~wrong
    highest = losses(IMAGES)
    for member in members:
        alone = member(SUBJECT, IMAGES, LABELS, noise[at : at + member.restarts])
        at += member.restarts
        new = left & (SUBJECT(alone).argmax(1) != LABELS)
        torch.testing.assert_close(found[new], alone[new])
        left, highest = left & ~new, torch.maximum(highest, losses(alone))
    assert torch.equal(fooled, ~left)
    assert 0 < int(left.sum()) < N
    torch.testing.assert_close(losses(found)[left], highest[left])


@pytest.mark.parametrize(
    ("attack", "classes", "message"),
    [
        (PGD(loss="dlr"), 2, "the DLR loss needs at least 3 classes, the network has 2; use loss=ce"),
        (PGD(loss="dlr", target=1), 3, "the targeted DLR loss needs at least 4 classes, the network has 3"),
        (APGD(loss="dlr"), 2, "the DLR loss needs at least 3 classes"),
        (APGD(loss="dlr-t"), 3, "the targeted DLR loss needs at least 4 classes"),
        (Worst((FGSM(), APGD(loss="dlr-t"))), 3, "the targeted DLR loss needs at least 4 classes"),
        (PGD(target=4), 4, "target=4: the network has the classes 0 to 3"),
    ],
)
def test_too_few_classes_are_refused(attack: PGD | APGD | Worst, classes: int, message: str) -> None:
    subject = models.subject(nn.Sequential(nn.Flatten(), nn.Linear(72, classes)))
    with pytest.raises(UserError, match=message):
        attack(subject, IMAGES, LABELS % classes, starts(attack))


def test_a_target_is_reached_or_left_alone() -> None:
    attack = PGD(0.5, 20, target=2, stop=True)
    found = attacked(attack)
    already = LABELS == 2
    assert bool((SUBJECT(found[~already]).argmax(1) == 2).all())
    assert torch.equal(found[already], IMAGES[already])


def test_features_move_farther_than_by_noise_and_labels_do_not_matter() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 6), nn.Tanh(), nn.Linear(6, CLASSES))
    subject: Subject = from_network(Network(module.double(), Preprocessing()))
    attack, reference = FeaturePGD(0.05, 10), subject.features(IMAGES)
    noise = starts(attack)

    def moved(images: Tensor) -> Tensor:
        return (subject.features(images) - reference).square().sum(1)

    found = attack(subject, IMAGES, LABELS, noise)
    assert bool((moved(found) > moved((IMAGES + 0.05 * noise[0].sign()).clamp(0, 1))).all())
    assert torch.equal(found, attack(subject, IMAGES, (LABELS + 1) % CLASSES, noise))
    encode: Callable[[Tensor], Tensor] = subject.features
    assert torch.equal(found, attack(encode, IMAGES, LABELS, noise))
