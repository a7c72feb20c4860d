from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geomlab import checkpoint
from geomlab.data import embedded
from geomlab.errors import UserError
from grace import loop
from grace.methods import wise_ft
from grace.recipe import compose
from grace.run import Run

RunOf = Callable[..., Run]
SHORT = ("optimisation.max_steps=3", "optimisation.batch_size=32", "optimisation.warmup=1")
FT = str(embedded.checkpoint_path("ft"))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_every_tensor_is_interpolated(run_of: RunOf, alpha: float) -> None:
    run = run_of("wise-ft", f"options.alpha={alpha}")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in run.weights.values():
            weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    tuned = {name: weight.detach().clone() for name, weight in run.weights.items()}
    wise_ft.finish(run)
    assert "head.weight" in run.weights
    for name, weight in run.weights.items():
        expected = (1 - alpha) * run.anchor[name] + alpha * tuned[name]
        if alpha == 0.3:
            torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-14)
        else:
            assert torch.equal(weight, expected)


def test_the_ends_are_exact_to_the_bit_and_counters_are_not_averaged() -> None:
    before, after = torch.tensor([-0.0, 1.0]), torch.tensor([3.0, -0.0])
    for alpha, expected in ((0.0, before), (1.0, after)):
        found = wise_ft.interpolate(before, after, alpha)
        assert torch.equal(found.view(torch.int32), expected.view(torch.int32))
    assert wise_ft.interpolate(torch.tensor(2), torch.tensor(7), 0.5).item() == 7


def test_a_finetuned_file_gives_any_alpha_without_steps(tmp_path: Path) -> None:
    tuned, ends = checkpoint.read(FT), {}
    for alpha in (0, 1):
        recipe = compose("wise-ft", settings=[f"options.alpha={alpha}", f"options.finetuned='{FT}'"])
        ends[alpha] = loop.train(recipe, tmp_path / str(alpha))
        assert ends[alpha].metadata["step"] == 0
    assert ends[1].digest == tuned.digest
    assert ends[0].digest == loop.train(compose("zero-shot"), tmp_path / "zero-shot").digest


def test_alpha_of_a_whole_run_is_that_of_its_file(tmp_path: Path) -> None:
    tuned = loop.train(compose("ft", settings=SHORT), tmp_path)
    at_once = loop.train(compose("wise-ft", settings=[*SHORT, "options.alpha=0.25"]), tmp_path / "a")
    apart = compose("wise-ft", settings=["options.alpha=0.25", f"options.finetuned='{tuned.path}'"])
    assert loop.train(apart, tmp_path / "b").digest == at_once.digest


def test_a_file_of_another_network_or_classes_is_refused(tmp_path: Path) -> None:
    small = "architecture.vision_cfg.width=32"
    other = loop.train(compose("clip", settings=[*SHORT, small]), tmp_path)
    recipe = compose("wise-ft", settings=[f"options.finetuned='{other.path}'"])
    with pytest.raises(UserError, match=r"clip\.pt: another network .*other shapes: clip\.visual"):
        loop.train(recipe, tmp_path / "run")
    read = checkpoint.read(FT)
    about = {key: value for key, value in read.metadata.items() if key not in ("digest", "versions")}
    names = [f"class {i}" for i in range(10)]
    renamed = checkpoint.write(tmp_path / "renamed.pt", read.tensors, about | {"classes": names})
    recipe = compose("wise-ft", settings=[f"options.finetuned='{renamed.path}'"])
    with pytest.raises(UserError, match=r"renamed\.pt: fine-tuned on other classes than those of glyphs"):
        loop.train(recipe, tmp_path / "run")
