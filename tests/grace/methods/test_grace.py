import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import checkpoint
from geomlab.architectures import Labels
from geomlab.data import embedded
from geomlab.errors import NotFinite
from grace import awp, curriculum, loop, lora, methods
from grace import model as models
from grace.batches import Batch
from grace.gram import gram_volume
from grace.methods import grace
from grace.model import Model
from grace.optimise import make_optimiser
from grace.recipe import compose
from grace.run import Run
from grace.start import open_pools
from grace.step import Progress, take_step

RunOf = Callable[..., Run]
QUICK = ("attack.steps=2",)


def away_from_the_start(run: Run) -> None:
    """Give every B entries: at the start ∂/∂A is zero."""
    rng = torch.Generator().manual_seed(7)
    for name, factor in lora.factors(run.model.clip).items():
        if name.endswith("B"):
            factor.data.copy_(0.03 * torch.randn(factor.shape, generator=rng, dtype=factor.dtype))


def plain(run: Run, delta: dict[str, Tensor] | None = None) -> Model:
    """A model of its own without adapters, its weights moved by delta."""
    model = models.from_checkpoint(checkpoint.read(embedded.checkpoint_path("zero-shot")), None).double()
    model.add_zero_shot_head()
    tensors = run.model.tensors()
    with torch.no_grad():
        for name, parameter in model.parameters_by_name().items():
            parameter.copy_(tensors[name] + (delta or {}).get(name, torch.zeros(())))
    return model


def test_the_loss_is_equation_4_step_by_step(run_of: RunOf, batch: Batch) -> None:
    run = run_of(
        "grace", *QUICK, "options.curriculum=false", "options.lambda_lar=0.7", "options.lambda_gv=0.3"
    )
    away_from_the_start(run)
    terms = grace.loss(run, batch)
    assert list(terms) == ["task", "lar_awp", "gram_volume"]

    attacked = run.craft_against(batch.images, batch.labels)
    model = plain(run)
    weights = {n: p for n, p in model.parameters_by_name().items() if n in lora.base_weights(run.model.clip)}
    for weight in weights.values():
        weight.requires_grad_(True)
    inner = F.cross_entropy(model.logits(attacked), batch.labels)
    gradients = dict(zip(weights, torch.autograd.grad(inner, list(weights.values())), strict=True))
    rng, delta = run.rng("awp"), {}
    for name, weight in weights.items():
        a = torch.randn(4, weight.shape[1], generator=rng, dtype=weight.dtype)
        uphill = gradients[name] @ a.T @ a
        delta[name] = 0.05 * weight.detach().norm() * uphill / uphill.norm()
    with torch.no_grad():
        clean, adversarial = model.embed(batch.images), model.embed(attacked)
        shifted = plain(run, delta)
        perturbed = shifted.embed(attacked)
        task = F.cross_entropy(model.logits(batch.images), batch.labels)
        worst = F.cross_entropy(shifted.logits(attacked), batch.labels)
        volumes = gram_volume(clean, adversarial, perturbed, eps=1e-6)
    assert worst > inner
    assert terms["task"].item() == pytest.approx(task.item(), rel=1e-9)
    assert terms["lar_awp"].item() == pytest.approx(0.7 * worst.item(), rel=1e-7)
    assert terms["gram_volume"].item() == pytest.approx(0.3 * volumes.mean().item(), rel=1e-6)


@pytest.mark.parametrize("factor", ["A", "B"])
def test_the_gradient_of_the_gram_volume_in_the_adapters_is_the_finite_difference(
    factor: str, run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the attacks held: both are maxima, through which no gradient flows."""
    run = run_of("grace", *QUICK, "options.curriculum=false", "options.lambda_lar=0", "options.gram_eps=1e-4")
    away_from_the_start(run)
    few = Batch(batch.images[:8], batch.labels[:8], batch.domains[:8])
    attacked = run.craft_against(few.images, few.labels)
    monkeypatch.setattr(Run, "craft_against", lambda *_: attacked)
    reached: list[dict[str, awp.Branch]] = []
    climb = awp.climb
    monkeypatch.setattr(
        awp, "climb", lambda *given, **options: reached.append(climb(*given, **options)) or reached[0]
    )

    def volume() -> Tensor:
        return grace.loss(run, few)["gram_volume"]

    gradient = run.gradient(volume())
    chosen = {name: g for name, g in gradient.items() if name.endswith(f"lora_{factor}")}
    assert len(chosen) == 16
    assert all(bool(g.any()) for g in chosen.values())
    rng, step = torch.Generator().manual_seed(1), 1e-5
    for name in list(chosen)[::5]:
        direction = torch.randn(chosen[name].shape, generator=rng, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            run.weights[name].data.add_(direction, alpha=sign * step)
            values.append(volume().item())
            run.weights[name].data.sub_(direction, alpha=sign * step)
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx((chosen[name] * direction).sum().item(), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "terms", "curved"),
    [
        (("options.lambda_lar=0", "options.lambda_gv=0"), ["task"], False),
        (("options.lambda_lar=0",), ["task", "gram_volume"], True),
        (("options.lambda_gv=0", "options.curriculum=false"), ["task", "lar_awp"], False),
        (("options.lambda_gv=0",), ["task", "lar_awp"], True),
        ((), ["task", "lar_awp", "gram_volume"], True),
    ],
)
def test_every_row_of_table_8_is_a_switch(
    settings: tuple[str, ...], terms: list[str], curved: bool, run_of: RunOf, batch: Batch
) -> None:
    run = run_of("grace", *QUICK, *settings)
    assert list(grace.loss(run, batch)) == terms
    assert ("curvature" in run.memory) == curved


def test_lora_alone_attacks_nothing(run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("grace", "options.lambda_lar=0", "options.lambda_gv=0")
    monkeypatch.setattr(Run, "craft", lambda *_: pytest.fail("an attack was made"))
    expected = methods.get("lora-ft").loss(run, batch)["cross_entropy"]
    assert grace.loss(run, batch)["task"].item() == expected.item()


def test_ranks_follow_the_average_of_held_back_curvature(run_of: RunOf, batch: Batch) -> None:
    run = run_of("grace", *QUICK, "options.interval=3", "options.decay=0.8")
    away_from_the_start(run)
    held_back = run.validation
    assert held_back is not None
    averages = []
    for run.step in range(7):
        ranks = grace.choose_ranks(run, batch)
        averages.append(run.memory["curvature"])
        assert list(ranks.values()) == curriculum.ranks(averages[-1], 4, 80).tolist()
    assert sorted(ranks.values()) == [0] * 4 + [2] * 8 + [4] * 4
    assert averages[0] is averages[2] is not averages[3] is averages[5] is not averages[6]

    def naive(number: int) -> Tensor:
        drawn = held_back.batch(number)
        model = plain(run)
        named = model.parameters_by_name()
        weights = [named[name].requires_grad_(True) for name in ranks]
        mean = F.cross_entropy(model.logits(drawn.images), drawn.labels)
        n = len(drawn.labels)
        return torch.stack([n * (g**2).mean() for g in torch.autograd.grad(mean, weights)])

    torch.testing.assert_close(averages[0], naive(0))
    torch.testing.assert_close(averages[3], 0.8 * naive(0) + 0.2 * naive(1))


def test_curvature_that_is_not_finite_ends_the_run(
    run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("grace", "attack.steps=1")
    monkeypatch.setattr(curriculum, "curvature", lambda *_: torch.tensor([1.0, math.nan]))
    with pytest.raises(NotFinite, match="the curvature of held-back samples is not finite"):
        grace.choose_ranks(run, batch)
    assert "curvature" not in run.memory


def test_a_part_of_a_batch_does_not_measure_curvature_again(run_of: RunOf, batch: Batch) -> None:
    run = run_of("grace", *QUICK)
    grace.choose_ranks(run, batch)
    before = run.memory["curvature"]
    run.part = 1
    grace.choose_ranks(run, batch)
    assert run.memory["curvature"] is before


def test_more_ascent_steps_reach_no_lower_loss_and_stay_in_the_ball(run_of: RunOf, batch: Batch) -> None:
    reached = []
    for steps in (1, 3):
        run = run_of(
            "grace", *QUICK, "options.curriculum=false", f"options.steps={steps}", "options.step=0.5"
        )
        reached.append(grace.loss(run, batch)["lar_awp"].item())
        lora.merge(run.model.clip)  # the fixture's model is the same one
    assert reached[1] > reached[0]


def test_vit_b_32_takes_a_step_on_the_cpu(tmp_path: Path) -> None:
    """Random weights; what is trained is float32 at the size of the paper."""
    from geomlab.data.arrays import Arrays

    rng = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 224, 224, generator=rng)
    source = Arrays("mine:data", (images, torch.tensor([0, 1, 0, 1])))
    short = ("batch_size=2", "weight_decay=0", "warmup=0", "max_steps=1")
    settings = ["attack.steps=1", "data.validation=0", *(f"optimisation.{text}" for text in short)]
    recipe = compose("grace", "mine:data", settings=settings)
    model = models.from_open_clip("open_clip:ViT-B-32", Labels(("cat", "dog")), seed=0)
    pool, validation = open_pools(recipe, source, None, seed=0)
    run = Run(model, recipe, pool, validation, steps=1)
    method = methods.get("grace")
    loop.prepare(run, method)
    assert len(lora.base_weights(model.clip)) == 12 * 4
    assert sum(weight.numel() for weight in run.weights.values()) == 64 * 12 * (4 * 2 * 768 + 2 * 5 * 768)
    model.train()
    before = {name: weight.detach().clone() for name, weight in run.weights.items()}
    optimiser = make_optimiser(run.weights.values(), recipe.optimisation)
    line = take_step(run, method, Progress(run, optimiser, tmp_path / "none", {}))
    assert set(line) >= {"task", "lar_awp", "gram_volume"}
    assert all(
        torch.equal(weight, before[name]) == name.endswith("A") for name, weight in run.weights.items()
    )  # B = 0, where A has no gradient
