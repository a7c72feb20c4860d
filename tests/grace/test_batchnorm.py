"""A tower with batch normalisation: what trains moves its running statistics, nothing else does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geomlab import checkpoint
from geomlab.data import sources
from geomlab.data.attacks.losses import cross_entropy
from grace import cli, loop, methods, sharpness
from grace import model as models
from grace.batches import Batch
from grace.bench.judge import drift
from grace.recipe import compose
from grace.run import Run
from grace.start import open_pools, start_model

SHORT = ("optimisation.max_steps=4", "optimisation.batch_size=16", "optimisation.warmup=1")
TOWER = (
    "architecture.vision_cfg.layers=[1,1,1,1]",
    "architecture.vision_cfg.image_size=32",
    "architecture.vision_cfg.width=8",
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with a ResNet tower."""
    out = tmp_path_factory.mktemp("resnet")
    loop.train(compose("clip", settings=[*SHORT, *TOWER]), out)
    return out / "clip.pt"


@pytest.fixture
def run_of(start: Path) -> Callable[..., Run]:
    def make(name: str, *settings: str) -> Run:
        recipe, method = compose(name, settings=[*SHORT, *settings]), methods.get(name)
        source = sources.open_source(recipe.data.train)
        model, _ = start_model(recipe, method, source, str(start), 0)
        pool, validation = open_pools(recipe, source, model.preprocessing.size, 0)
        run = Run(model, recipe, pool, validation, 4)
        loop.prepare(run, method)
        model.train()
        return run

    return make


def statistics(model: models.Model) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_they_move_with_the_weights_that_train_and_stay_under_adapters(run_of: Callable[..., Run]) -> None:
    for name, moves in [("ft", True), ("lora-ft", False), ("lora-at", False), ("grace", False)]:
        run = run_of(name, *(["attack.steps=1"] if name in ("lora-at", "grace") else []))
        before = statistics(run.model)
        assert before
        batch = run.pool.batch(0)
        methods.get(name).loss(run, batch)
        assert equal(before, statistics(run.model)) != moves, name


def test_merged_adapters_are_the_run_s_own_checkpoint(start: Path, tmp_path: Path) -> None:
    loop.train(compose("lora-ft", settings=[*SHORT]), tmp_path, initial=str(start))
    given = [str(tmp_path / "lora-ft.adapters.pt"), "--out", str(tmp_path / "merged.pt")]
    assert cli.main(["merge", str(start), *given]) == 0
    merged, own = (
        checkpoint.read(tmp_path / "merged.pt").tensors,
        checkpoint.read(tmp_path / "lora-ft.pt").tensors,
    )
    assert set(merged) == set(own)
    for name, tensor in own.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-6, atol=1e-7)


def test_neither_weights_elsewhere_nor_an_attack_moves_them(run_of: Callable[..., Run]) -> None:
    run = run_of("tecoa", "attack.mode='train'", "attack.steps=2")
    batch = run.pool.batch(0)
    before = statistics(run.model)
    run.craft_against(batch.images, batch.labels)
    run.at(dict(run.weights), lambda: run.model.logits(batch.images))
    assert equal(before, statistics(run.model))
    run.model.logits(batch.images)
    assert not equal(before, statistics(run.model))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_laat_raises_the_distance_from_the_clean_features_of_the_network_it_attacks(
    mode: str, run_of: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At δ = 0 it is zero, also where the clean features that train are normalised by the batch."""
    run = run_of("laat", "attack.steps=1", f"attack.mode='{mode}'")
    batch, craft, seen = run.pool.batch(0), Run.craft, []

    def look(of: Run, images: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            seen.append(of.under_attack(lambda: loss(images)))
        return craft(of, images, loss)

    monkeypatch.setattr(Run, "craft", look)
    methods.get("laat").loss(run, batch)
    assert run.model.normalises_by_batch
    torch.testing.assert_close(seen[0], torch.zeros(16), rtol=0, atol=1e-6)


def test_the_worst_weights_of_sam_move_them_no_further(run_of: Callable[..., Run]) -> None:
    run, plain = run_of("sam"), run_of("sam")
    batch: Batch = run.pool.batch(0)

    def loss(of: Run) -> Tensor:
        return cross_entropy(of.model.logits(batch.images), batch.labels).mean()

    sharpness.loss_above(run, lambda: loss(run), lambda weights, g: sharpness.sphere(g, 0.1))
    loss(plain)
    assert equal(statistics(plain.model), statistics(run.model))


def test_they_are_no_drift() -> None:
    there = {"visual.w": torch.ones(2), "visual.bn1.running_mean": torch.ones(2)}
    assert drift(there, {**there, "visual.bn1.running_mean": torch.full((2,), 9.0)}) == 0


@pytest.mark.parametrize("method", ["ft"])
def test_a_stopped_run_goes_on_with_them(method: str, start: Path, tmp_path: Path) -> None:
    recipe = compose(method, settings=[*SHORT, "optimisation.lr=1e-3"])
    whole = loop.train(recipe, tmp_path / "whole", initial=str(start))

    class Stop(Exception):
        pass

    original = loop.take_step
    calls = 0

    def stop(*given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stop
        return original(*given)  # type: ignore[arg-type]

    conduct = loop.Conduct(resume=True, checkpoint_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "take_step", stop)
        with pytest.raises(Stop):
            loop.train(recipe, tmp_path / "parts", initial=str(start), conduct=conduct)
    parts = loop.train(recipe, tmp_path / "parts", initial=str(start), conduct=conduct)
    assert parts.digest == whole.digest
