import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from geomlab import checkpoint
from geomlab.typing import Scalar
from grace import loop
from grace import step as steps
from grace.batches import Batch
from grace.methods import ft
from grace.methods import grace as grace_method
from grace.optimise import average, make_optimiser
from grace.recipe import compose
from grace.run import Run

SHORT = ("optimisation.max_steps=3", "optimisation.batch_size=30", "optimisation.warmup=1")


def train(out: Path, *settings: str) -> Mapping[str, Tensor]:
    return loop.train(compose("ft", settings=[*SHORT, *settings]), out).tensors


def test_sgd_steps_along_the_gradient_with_momentum() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    settings = compose("ft", settings=["optimisation.optimiser=sgd", "optimisation.lr=0.1"]).optimisation
    optimiser = make_optimiser([weight], settings.model_copy(update={"weight_decay": 0.5}))
    weight.grad = torch.tensor([[3.0, -1.0]])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[1 - 0.35, 2.0]]))  # 3 + 0.5·1 and −1 + 0.5·2
    weight.grad = torch.zeros(1, 2)
    optimiser.step()
    expected = 0.65 - 0.1 * (0.9 * 3.5 + 0.5 * 0.65)
    torch.testing.assert_close(weight.detach(), torch.tensor([[expected, 1.9]]))


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    plain = (
        "optimisation.optimiser=sgd",
        "optimisation.lr=1e-2",
    )  # AdamW would magnify the rounding of zeros
    whole = train(tmp_path / "1", *plain)
    for parts in (4, 7):  # 30 samples are not divided evenly by either
        split = train(tmp_path / str(parts), f"optimisation.accumulate={parts}", *plain)
        for name, tensor in whole.items():
            torch.testing.assert_close(split[name], tensor, rtol=1e-5, atol=1e-6)


def test_parts_hold_every_sample_once_with_its_share() -> None:
    batch = Batch(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10), tuple("abcdefghij"))
    for count in (1, 3, 10, 64):
        parts = list(steps._parts(batch, count))
        assert torch.cat([part.labels for part, _ in parts]).tolist() == list(range(10))
        assert [len(part.labels) / 10 for part, _ in parts] == [share for _, share in parts]
        assert len(parts) == min(count, 10)
        assert max(len(p.labels) for p, _ in parts) - min(len(p.labels) for p, _ in parts) <= 1


def test_average_decays() -> None:
    mean: dict[str, Tensor] = {}
    for value in (1.0, 3.0, 5.0):
        average(mean, {"w": torch.tensor([value])}, 0.75)
    assert mean["w"].item() == 0.75 * (0.75 * 1 + 0.25 * 3) + 0.25 * 5


def test_the_average_is_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def watched(mean: dict[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
        seen.append(weights["head.weight"].detach().clone())
        average(mean, weights, decay)

    monkeypatch.setattr(steps, "average", watched)
    found = train(tmp_path, "optimisation.ema=0.5")["head.weight"]
    torch.testing.assert_close(found, 0.25 * seen[0] + 0.25 * seen[1] + 0.5 * seen[2])
    assert not torch.equal(found, seen[2])


def test_bfloat16_is_of_the_tower_alone(run_of: Callable[..., Run], batch: Batch) -> None:
    run = run_of("grace", "attack.steps=2", "options.curriculum=false")
    run.model.float()
    few = Batch(batch.images[:16].float(), batch.labels[:16], batch.domains[:16])
    exact = grace_method.loss(run, few)
    run.model.precision = torch.bfloat16
    features = run.model.encode(few.images)
    assert features.dtype == torch.float32
    assert torch.equal(features, features.bfloat16().float())  # the tower's last sums are bfloat16
    attacked = run.craft_against(few.images, few.labels)
    assert run.model.precision == torch.bfloat16
    run.model.precision = torch.float32
    assert torch.equal(attacked, run.craft_against(few.images, few.labels))  # its signs are float32's
    run.model.precision = torch.bfloat16
    moved = (attacked - few.images).abs()
    assert moved.max() <= run.attack.eps + 1e-6
    rough = grace_method.loss(run, few)
    for name, term in exact.items():
        assert rough[name].dtype == torch.float32
        assert rough[name].item() != term.item()
        assert rough[name].item() == pytest.approx(term.item(), rel=0.1)
    gradients = run.gradient(torch.stack(list(rough.values())).sum())
    assert all(g.dtype == torch.float32 and bool(torch.isfinite(g).all()) for g in gradients.values())


def test_bfloat16_trains_and_is_written_in_float32(tmp_path: Path) -> None:
    found = train(tmp_path, "optimisation.precision=bfloat16")
    assert {tensor.dtype for tensor in found.values() if tensor.is_floating_point()} == {torch.float32}
    assert checkpoint.read(tmp_path / "ft.pt").metadata["recipe"]["optimisation"]["precision"] == "bfloat16"


def test_layers_that_draw_do_so_by_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout of the network must not hang on what was drawn before, else a resumed run would differ."""
    drawn: list[float] = []

    def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
        drawn.append(float(torch.rand(())))
        return ft.loss(run, batch)

    method = dataclasses.replace(ft.METHOD, loss=loss)
    monkeypatch.setattr(loop.methods, "get", lambda _: method)
    for elsewhere in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(elsewhere)
            train(tmp_path / str(elsewhere))
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn)) == 3
