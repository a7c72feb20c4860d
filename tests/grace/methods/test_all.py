"""What holds for every method."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geomlab import checkpoint, subject
from geomlab.errors import UserError
from grace import loop, methods
from grace.batches import Batch
from grace.loop import Conduct
from grace.model import Model
from grace.recipe import compose
from grace.run import Run

RunOf = Callable[..., Run]

ATTACKING = [name for name in methods.names() if "attack" in methods.get(name).uses]
EXTRA = {"lp-ft": ["options.C=0.001"], "tpgm": ["options.iterations=2"], "vpt-pmg-aft": ["options.prompts=3"]}


def settings(name: str) -> list[str]:
    """Of three short steps."""
    weak = ["attack.steps=1"] if name in ATTACKING else []
    short = ["max_steps=3", "warmup=1", "batch_size=16"]
    return [*weak, *EXTRA.get(name, []), *(f"optimisation.{text}" for text in short)]


@pytest.mark.parametrize("name", methods.names())
def test_three_steps_and_the_checkpoint_is_the_trained_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Model] = []
    described = loop.describe
    monkeypatch.setattr(
        loop, "describe", lambda model, recipe: seen.append(model) or described(model, recipe)
    )
    initial = "embedded:zero-shot" if name == "clip" else None
    loop.train(compose(name, settings=settings(name)), tmp_path, initial=initial)
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    read = checkpoint.read(tmp_path / f"{name}.pt")
    model = seen[0].eval()
    model.add_zero_shot_head()
    with torch.no_grad():
        torch.testing.assert_close(subject.load(read)(images), model.logits(images))
    assert read.metadata["step"] == (0 if name == "zero-shot" else 3)


@pytest.mark.parametrize("name", ATTACKING)
def test_no_attack_leaves_a_trace(run_of: RunOf, batch: Batch, name: str) -> None:
    run = run_of(name, "attack.steps=2", *EXTRA.get(name, []))
    model = run.model

    def state() -> list[object]:
        return [(key, tensor.requires_grad, tensor.grad) for key, tensor in model.named_parameters()]

    weights = [weight.detach().clone() for weight in model.parameters()]
    before = state()
    terms = methods.get(name).loss(run, batch)
    assert state() == before
    assert all(grad is None for _, _, grad in before)
    assert model.training
    assert all(map(torch.equal, weights, model.parameters()))
    for term in terms.values():  # every term trains something
        found = torch.autograd.grad(term, list(run.weights.values()), allow_unused=True, retain_graph=True)
        assert any(gradient is not None and bool(gradient.any()) for gradient in found)


@pytest.mark.parametrize("name", ["grace", "fare", "lora-spd", "spd", "tpgm", "vpt-pmg-aft"])
def test_two_steps_and_one_more_are_three(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that keep something from step to step, or from the start."""
    recipe = compose(name, settings=settings(name))
    whole = loop.train(recipe, tmp_path / "whole")
    step = loop.take_step

    def stopped(run: Run, *rest: object) -> dict[str, float | int]:
        if run.step == 2:
            raise RuntimeError("the power is gone")
        return step(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "take_step", stopped)
    with pytest.raises(RuntimeError, match="power"):
        loop.train(recipe, tmp_path / "parts", conduct=Conduct(checkpoint_every=2))
    monkeypatch.setattr(loop, "take_step", step)
    assert loop.train(recipe, tmp_path / "parts", conduct=Conduct(resume=True)).digest == whole.digest


@pytest.mark.parametrize(
    ("name", "trains"),
    [
        ("zero-shot", {"visual", "head"}),
        ("lp-ft", {"visual", "head"}),
        ("wise-ft", {"visual", "head"}),
        ("tpgm", {"visual", "head"}),
        ("spd", {"visual", "head"}),
        ("awp", {"visual", "head"}),
        ("sam", {"visual", "head"}),
        ("asam", {"visual", "head"}),
        ("flyp", {"visual", "text"}),
        ("tecoa", {"visual"}),
        ("fare", {"visual"}),
        ("pmg-aft", {"visual"}),
        ("laat", {"visual"}),
        ("lora-spd", {"lora"}),
        ("lora-tecoa", {"lora"}),
        ("lora-at", {"lora"}),
        ("vpt-pmg-aft", {"prompts"}),
    ],
)
def test_what_trains(run_of: RunOf, name: str, trains: set[str]) -> None:
    run = run_of(name, *EXTRA.get(name, []))

    def kind(key: str) -> str:
        for part in ("lora", "prompts"):
            if part in key:
                return part
        return key.split(".")[0] if key.startswith(("visual.", "head.")) else "text"

    parameters = run.model.parameters_by_name()
    assert set(run.weights) == {key for key in parameters if kind(key) in trains}
    assert {kind(key) for key in run.weights} == trains


@pytest.mark.parametrize("name", ["fare", "laat"])
def test_an_attack_on_a_distance_must_not_begin_at_zero(run_of: RunOf, name: str) -> None:
    with pytest.raises(
        UserError, match=f"{name}: .* no gradient at the clean image; set attack.start=random"
    ):
        run_of(name, "attack.start=clean")
