from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geomlab.data.attacks.losses import cross_entropy
from geomlab.errors import UserError
from grace import lora
from grace.batches import Batch
from grace.run import Run

RunOf = Callable[..., Run]


def everything(run: Run) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in run.model.named_parameters()}


def moved(run: Run, scale: float = 0.01) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: weight + scale * torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
        for name, weight in run.weights.items()
    }


def test_a_function_at_other_weights_is_that_of_a_model_that_has_them(run_of: RunOf, batch: Batch) -> None:
    run = run_of("ft")
    other, before = moved(run), everything(run)
    found = run.at(other, lambda: run.model.logits(batch.images))
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.named_parameters())
    with torch.no_grad():
        for name, weight in run.weights.items():
            weight.copy_(other[name])
        torch.testing.assert_close(found, run.model.logits(batch.images), rtol=0, atol=0)


def test_under_adapters_the_base_weight_is_replaced_and_the_update_added(run_of: RunOf, batch: Batch) -> None:
    run = run_of("lora-ft")
    rng = torch.Generator().manual_seed(1)
    for name, factor in lora.factors(run.model.clip).items():
        if name.endswith("B"):
            factor.data.copy_(0.05 * torch.randn(factor.shape, generator=rng, dtype=factor.dtype))
    base = lora.base_weights(run.model.clip)
    delta = {name: 0.01 * torch.randn(w.shape, generator=rng, dtype=w.dtype) for name, w in base.items()}
    with torch.no_grad():
        whole = {name: weight + delta[name] for name, weight in lora.merged_weights(run.model.clip).items()}
        found = run.at(
            {name: base[name] + delta[name] for name in base}, lambda: run.model.logits(batch.images)
        )
        lora.merge(run.model.clip)
        for name, parameter in run.model.parameters_by_name().items():
            parameter.copy_(whole.get(name, parameter))
        torch.testing.assert_close(found, run.model.logits(batch.images), rtol=1e-10, atol=1e-10)


def test_an_attack_may_be_on_other_weights(run_of: RunOf, batch: Batch) -> None:
    """Under adapters too: neither hides the other's weights, in either order."""
    run = run_of("lora-at", "attack.steps=1")
    doubled = {name: 2 * weight for name, weight in lora.base_weights(run.model.clip).items()}

    def elsewhere() -> Tensor:
        return run.at(doubled, lambda: run.model.embed(batch.images))

    plain, other = run.model.embed(batch.images), elsewhere()
    assert not torch.allclose(plain, other)
    seen: list[Tensor] = []

    def raised(images: Tensor) -> Tensor:
        seen.extend((run.model.embed(batch.images), elsewhere(), run.model.embed(batch.images)))
        return cross_entropy(run.model.logits(images), batch.labels)

    run.craft(batch.images, raised)
    for found, expected in zip(seen, (plain, other, plain), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", ["ft", "grace"])
def test_weights_are_restored_exactly_when_an_exception_flies(
    method: str, run_of: RunOf, batch: Batch
) -> None:
    run = run_of(method)
    before, logits = everything(run), run.model.logits(batch.images)
    identities = {name: id(tensor) for name, tensor in run.model.named_parameters()}
    weights = (
        moved(run) if method == "ft" else {n: 2 * w for n, w in lora.base_weights(run.model.clip).items()}
    )

    def fail() -> Tensor:
        assert not torch.allclose(run.model.logits(batch.images), logits)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        run.at(weights, fail)
    assert {name: id(tensor) for name, tensor in run.model.named_parameters()} == identities
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.named_parameters())
    assert torch.equal(run.model.logits(batch.images), logits)


def test_gradients_at_other_weights_reach_the_weights(run_of: RunOf, batch: Batch) -> None:
    run = run_of("ft")
    step = {name: 0.1 * weight.detach() for name, weight in run.weights.items()}

    def loss() -> Tensor:
        return cross_entropy(run.model.logits(batch.images), batch.labels).mean()

    found = run.gradient(run.at({name: weight + step[name] for name, weight in run.weights.items()}, loss))
    with torch.no_grad():
        for name, weight in run.weights.items():
            weight += step[name]
    for name, gradient in run.gradient(loss()).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", ["random", "clean"])
def test_adversarial_examples_lie_in_the_ball_and_raise_the_loss(
    start: str, run_of: RunOf, batch: Batch
) -> None:
    run = run_of("lora-at", f"attack.start={start}", "attack.eps=8/255")
    attacked = run.craft_against(batch.images, batch.labels)
    assert (attacked - batch.images).abs().max() <= 8 / 255 + 1e-12
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    with torch.no_grad():
        clean, worst = (
            cross_entropy(run.model.logits(x), batch.labels).mean() for x in (batch.images, attacked)
        )
    assert worst > clean + 0.1
    assert torch.equal(
        attacked, run.craft_against(batch.images, batch.labels)
    )  # the same draws at the same step
    run.step = 1
    assert torch.equal(attacked, run.craft_against(batch.images, batch.labels)) == (start == "clean")


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_recipe_chooses_the_mode_under_attack(mode: str, run_of: RunOf, batch: Batch) -> None:
    run = run_of("lora-at", f"attack.mode={mode}", "attack.steps=1")
    seen = []

    def loss(images: Tensor) -> Tensor:
        seen.append((run.model.training, any(p.requires_grad for p in run.model.parameters())))
        return cross_entropy(run.model.logits(images), batch.labels)

    run.craft(batch.images, loss)
    assert seen == [(mode == "train", False)]
    assert run.model.training
    assert all(weight.requires_grad for weight in run.weights.values())


def test_a_failed_attack_leaves_the_model_as_it_was(run_of: RunOf, batch: Batch) -> None:
    run = run_of("lora-at")
    with pytest.raises(UserError, match="no gradient in the images"):
        run.craft(batch.images, lambda images: cross_entropy(run.model.logits(images.detach()), batch.labels))
    assert run.model.training
    assert all(weight.requires_grad for weight in run.weights.values())
    assert not any(w.requires_grad for w in lora.base_weights(run.model.clip).values())


def test_draws_differ_by_purpose_step_and_part(run_of: RunOf) -> None:
    run = run_of("ft")
    seeds = {run.rng("a").initial_seed(), run.rng("b").initial_seed()}
    run.step = 1
    seeds.add(run.rng("a").initial_seed())
    run.part = 1
    seeds.add(run.rng("a").initial_seed())
    assert len(seeds) == 4


def test_the_radius_grows_over_the_first_part_of_the_run(run_of: RunOf, batch: Batch) -> None:
    run = run_of(
        "tecoa", "attack.ramp=0.5", "attack.steps=3", "optimisation.max_steps=80", "optimisation.warmup=1"
    )
    reached = {}
    for run.step in (0, 9, 19, 39, 40, 79):
        attacked = run.craft_against(batch.images, batch.labels)
        reached[run.step] = (attacked - batch.images).abs().max().item() / run.attack.eps
    expected = {0: 1 / 40, 9: 0.25, 19: 0.5, 39: 1, 40: 1, 79: 1}
    assert reached == pytest.approx(expected, rel=1e-6)
