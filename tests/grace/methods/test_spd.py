import math
from collections.abc import Callable

import pytest
import torch

from grace.methods import lora_spd, spd
from grace.run import Run

RunOf = Callable[..., Run]


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_projection_by_hand(strength: float) -> None:
    """θ0 = (1, 0), θ = θ0 + (3, 4), θ' = θ0 + (6, 8): r = (10 − 5)/10."""
    before, after, anchor = vector(4, 4), vector(7, 8), vector(1, 0)
    found = spd.project(before, after, anchor, vector(1, 0), strength)  # ⟨g, θ − θ0⟩ = 3
    torch.testing.assert_close(found, vector(7 - strength * 0.5 * 6, 8 - strength * 0.5 * 8))


def test_it_is_selective() -> None:
    before, after, anchor = vector(4, 4), vector(7, 8), vector(1, 0)
    assert torch.equal(spd.project(before, after, anchor, vector(-1, 0), 1.0), after)  # ⟨g, θ − θ0⟩ = −3
    assert torch.equal(spd.project(before, after, anchor, vector(4, -3), 1.0), after)  # 0
    nearer = vector(2, 1)  # the step went towards θ0: r = 0
    assert torch.equal(spd.project(before, nearer, anchor, vector(1, 0), 1.0), nearer)
    assert torch.equal(spd.project(anchor, anchor, anchor, vector(1, 0), 1.0), anchor)


def test_every_tensor_has_its_own_condition(run_of: RunOf) -> None:
    run = run_of("spd", "options.strength=0.5")
    names = ["visual.proj", "head.weight"]
    before = {name: run.anchor[name] + 1 for name in run.weights}
    with torch.no_grad():
        for name in names:
            run.weights[name].copy_(run.anchor[name] + 2)
    run.weights[names[0]].grad = torch.ones_like(run.weights[names[0]])
    run.weights[names[1]].grad = -torch.ones_like(run.weights[names[1]])
    with torch.no_grad():
        spd.after_step(run, before)
    for name, left in zip(names, (1.5, 2.0), strict=True):  # r = ½: 2 − ½·½·2
        torch.testing.assert_close(run.weights[name].detach(), run.anchor[name] + left)


def factors(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(3, 2, 5, generator=rng, dtype=torch.float64),
        torch.randn(3, 4, 2, generator=rng, dtype=torch.float64),
    )


def test_the_product_is_projected_as_the_whole_weight_would_be() -> None:
    """Against SPD of ΔW itself, with the gradient in W."""
    (a, b), (after_a, after_b) = factors(0), factors(1)
    decided = set()
    for seed, growth in ((2, 3.0), (3, 3.0), (4, 3.0), (5, 3.0), (4, 0.1)):
        gradient = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        after_b_, zero = growth * after_b, torch.zeros(3, 4, 5, dtype=torch.float64)
        found = lora_spd.project((a, b), (after_a, after_b_), gradient @ a.mT, 0.7)
        expected = spd.project(b @ a, after_b_ @ after_a, zero, gradient, 0.7)
        torch.testing.assert_close(found @ after_a, expected)
        decided.add(torch.equal(found, after_b_))
    assert decided == {True, False}


@pytest.mark.parametrize("anchor", ["factors", "product"])
def test_what_the_adapters_are_held_to(run_of: RunOf, anchor: str) -> None:
    run = run_of("lora-spd", f"options.anchor={anchor}")
    name = next(name for name in run.weights if name.endswith(".lora_B"))
    a, b = run.weights[name.removesuffix("B") + "A"], run.weights[name]
    before = {key: weight.detach().clone() for key, weight in run.weights.items()}
    before[name] += 1.0
    with torch.no_grad():
        b.fill_(2.0)
        a.add_(1.0)
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    with torch.no_grad():
        lora_spd.after_step(run, before)
    start = run.anchor[name.removesuffix("B") + "A"]
    if anchor == "factors":
        torch.testing.assert_close(b.detach(), torch.ones_like(b))  # back to the distance from 0 that it had
        shrunk = (start + 1) * (start.norm() / (start + 1).norm()).clamp(
            max=1
        )  # likewise, where ⟨g, A⟩ is above 0
        torch.testing.assert_close(a.detach(), shrunk if start.sum() > 0 else start + 1)
    else:
        torch.testing.assert_close(a.detach(), start + 1)
        old = math.sqrt(float((before[name] @ start).square().sum()))
        assert (b @ a).norm().item() == pytest.approx(min(old, (2 * torch.ones_like(b) @ a).norm().item()))
