"""A network that gives NaN under attack is an error, and never robust."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geomlab.data.attacks import APGD, PGD, Ball, Square, Worst
from geomlab.data.attacks.standard import by_package
from geomlab.errors import NotFinite
from geomlab.rng import generator

IMAGES = 0.25 + 0.5 * torch.rand((6, 3, 4, 4), generator=generator(0, "images"))
WEIGHTS = torch.randn((48, 5), generator=generator(0, "weights"))
START = torch.zeros(1, *IMAGES.shape)


def logits(images: Tensor) -> Tensor:
    return images.flatten(1) @ WEIGHTS


LABELS = logits(IMAGES).argmax(1)


def without_gradient(images: Tensor) -> Tensor:
    """Finite, and the derivative of √ at 0 is not."""
    return logits(images) + 0 * (images - images.detach()).sqrt().flatten(1).sum(1, keepdim=True)


def without_neighbours(images: Tensor) -> Tensor:
    """NaN for all that is not one of the images."""
    far = (images[:, None] - IMAGES).flatten(2).abs().amax(2).amin(1) > 0.05
    return torch.where(far[:, None], torch.nan, logits(images))


def package(network: Callable[[Tensor], Tensor]) -> Tensor:
    def only(theirs: object) -> None:
        theirs.attacks_to_run, theirs.apgd.n_iter = ["apgd-ce"], 5  # type: ignore[attr-defined]

    with torch.no_grad():
        clean = network(IMAGES)
    return by_package(network, IMAGES, LABELS, clean, Ball(0.1, "linf"), 0, only)


ATTACKS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "last": lambda network: PGD(eps=0.1, steps=1)(network, IMAGES, LABELS, START),
    "best": lambda network: PGD(eps=0.1, steps=1, keep="best")(network, IMAGES, LABELS, START),
    "apgd": lambda network: APGD(eps=0.1, steps=3)(network, IMAGES, LABELS, START),
    "worst": lambda network: Worst((PGD(eps=0.1, steps=1),))(network, IMAGES, LABELS, START),
    "package": package,
    "square": lambda network: Square(0.1, queries=5)(network, IMAGES, LABELS),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nan_beside_an_image(attack: str) -> None:
    with pytest.raises(NotFinite, match="NaN for attacked images"):
        ATTACKS[attack](without_neighbours)


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "square"])
def test_a_gradient_of_nan(attack: str) -> None:
    with pytest.raises(NotFinite, match="gradient is not finite"):
        ATTACKS[attack](without_gradient)


@pytest.mark.parametrize("attack", ATTACKS)
def test_where_all_is_finite_they_move(attack: str) -> None:
    assert not torch.equal(ATTACKS[attack](logits), IMAGES)


def test_a_networks_own_draws_are_its_own() -> None:
    """The package's are made one for all samples; those of the network are not looked at."""
    seen = []

    def noisy(images: Tensor) -> Tensor:
        seen.append(torch.rand(len(images), 1, 2, 2))
        return logits(images) + 0 * torch.rand(3, 4).sum()

    package(noisy)
    assert all(len(one.unique()) == one.numel() for one in seen)
