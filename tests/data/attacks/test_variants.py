import pytest
import torch

from geomlab.data.attacks import FGSM, PGD, Attack, Ball, attack_of, variants
from geomlab.rng import generator
from geomlab.spec import parse

CENTRE = torch.rand((4, 3, 5, 5), generator=generator(0, "centre"), dtype=torch.float64)
UNIFORM = torch.rand(CENTRE.shape, generator=generator(0, "noise"), dtype=torch.float64) * 2 - 1


def made(spec: str) -> Attack:
    found = attack_of(parse(spec))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("spec", "wider", "longer"),
    [
        ("pgd:eps=0.1,steps=10", "pgd:eps=0.2,steps=10", "pgd:eps=0.1,steps=40"),
        ("pgd:eps=0.1,step=0.02,loss=dlr", "pgd:eps=0.2,step=0.04,loss=dlr", "pgd:eps=0.1,step=0.02,steps=40,loss=dlr"),
        ("features:eps=0.1,norm=l2", "features:eps=0.2,norm=l2", "features:eps=0.1,norm=l2,steps=40"),
        ("apgd:eps=0.1,steps=25", "apgd:eps=0.2,steps=25", "apgd:eps=0.1,steps=100"),
        ("fgsm:eps=0.1", "fgsm:eps=0.2", "pgd:eps=0.1,steps=4"),
        ("worst:apgd+fgsm,eps=0.1,steps=5", "worst:apgd+fgsm,eps=0.2,steps=5", None),
        ("autoattack:eps=0.1", "autoattack:eps=0.2", None),
    ],
)  # fmt: skip
def test_an_attack_with_another_radius_and_more_steps(spec: str, wider: str, longer: str | None) -> None:
    attack = made(spec)
    assert variants.at_radius(attack, 2) == made(wider)
    if longer is not None:
        assert variants.with_steps(attack, 4) == made(longer)


def test_of_several_attacks_each_has_more_steps() -> None:
    found = variants.with_steps(made("worst:apgd+fgsm,eps=0.1,steps=5"), 4)
    apgd, pgd = made("apgd:eps=0.1,steps=20"), PGD(0.1, 4)
    assert found is not None
    assert found.attacks == (apgd, pgd)
    assert variants.with_steps(made("worst:fgsm,eps=0.1"), 0.25) is None


@pytest.mark.parametrize("spec", ["fgsm:eps=0.1", "autoattack:eps=0.1", "pgd:eps=0.1,steps=1"])
def test_where_there_are_no_fewer_steps_there_is_no_such_attack(spec: str) -> None:
    assert variants.with_steps(made(spec), 0.25) is None


def test_the_ball_of_an_attack() -> None:
    assert variants.ball_of(made("fgsm:eps=0.1")) == Ball(0.1)
    assert variants.ball_of(made("pgd:eps=0.1,norm=l2")) == Ball(0.1, "l2")
    assert variants.ball_of(made("worst:apgd+pgd,eps=0.1,norm=l2")) == Ball(0.1, "l2")


def test_which_attacks_are_targeted() -> None:
    assert variants.is_targeted(made("pgd:eps=0.1,target=next"))
    assert not variants.is_targeted(made("worst:pgd+apgd-dlr-t,eps=0.1"))
    assert not variants.is_targeted(FGSM(0.1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_ball_of_the_whole_box_holds_every_image(norm: str) -> None:
    zeros, ones = torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5)
    radius = variants.whole_box(norm, 75)
    torch.testing.assert_close(Ball(radius, norm).project(ones, zeros), ones)
    assert not torch.allclose(Ball(0.99 * radius, norm).project(ones, zeros), ones)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_has_the_radius(norm: str, corners: bool) -> None:
    inside = 0.4 + 0.2 * CENTRE
    away = (variants.noise(Ball(0.05, norm), inside, UNIFORM, corners=corners) - inside).flatten(1)
    size = away.norm(p=torch.inf if norm == "linf" else 2, dim=1)
    assert float(size.max()) <= 0.05 + 1e-12
    if corners:
        even = 0.05 if norm == "linf" else 0.05 / 75**0.5
        torch.testing.assert_close(away.abs(), torch.full_like(away, even))
    else:
        assert float(size.min()) > 0.045
    cut = variants.noise(Ball(0.5, norm), CENTRE, UNIFORM, corners=corners)
    assert 0 <= float(cut.min()) <= float(cut.max()) <= 1
