from pathlib import Path

import pytest
import torch

from geomlab import checkpoint, subject
from geomlab.architectures import Labels
from geomlab.data import embedded
from geomlab.errors import UserError
from grace import adapters, cli, loop
from grace import model as models
from grace.recipe import compose

ZERO_SHOT = str(embedded.checkpoint_path("zero-shot"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    short = (
        "optimisation.max_steps=3",
        "optimisation.batch_size=16",
        "optimisation.warmup=1",
        "lora.scale=2.0",
    )
    loop.train(compose("lora-ft", settings=short), out)
    return out


def test_adapters_alone_are_small_and_say_what_they_belong_to(trained: Path) -> None:
    found = checkpoint.read(trained / "lora-ft.adapters.pt")
    assert found.metadata["adapters"] == {"of": checkpoint.read(ZERO_SHOT).digest, "scale": 2.0}
    names = {name.rpartition(".lora_")[0] for name in found.tensors if ".lora_" in name}
    assert len(names) == 16
    assert set(found.tensors) == {*(f"{n}.lora_{f}" for n in names for f in "AB"), "head.weight"}
    assert all(bool(tensor.any()) for tensor in found.tensors.values())


def test_merging_them_gives_the_run_s_own_checkpoint(trained: Path, tmp_path: Path) -> None:
    given = [str(trained / "lora-ft.adapters.pt"), "--out", str(tmp_path / "merged.pt")]
    assert cli.main(["merge", "embedded:zero-shot", *given]) == 0
    merged, own = checkpoint.read(tmp_path / "merged.pt"), checkpoint.read(trained / "lora-ft.pt")
    assert set(merged.tensors) == set(own.tensors)
    for name, tensor in own.tensors.items():
        torch.testing.assert_close(merged.tensors[name], tensor, rtol=1e-6, atol=1e-7)
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(subject.load(merged)(images), subject.load(own)(images), rtol=1e-4, atol=1e-4)


def test_a_network_of_open_clip_s_list_can_be_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(text: str, labels: Labels, seed: int) -> models.Model:
        assert text == "open_clip:ViT-B-32,pretrained=openai"
        return models.from_checkpoint(checkpoint.read(Path(ZERO_SHOT)), labels)

    monkeypatch.setattr(models, "from_open_clip", small)
    base = "open_clip:ViT-B-32,pretrained=openai"
    short = ("optimisation.max_steps=2", "optimisation.batch_size=16", "optimisation.warmup=1")
    own = loop.train(compose("lora-ft", settings=short), tmp_path, initial=base)
    merged = adapters.merge(base, tmp_path / "lora-ft.adapters.pt", tmp_path / "merged.pt")
    for name, tensor in own.tensors.items():
        torch.testing.assert_close(merged.tensors[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("base", "given", "message"),
    [
        ("embedded:ft", "lora-ft.adapters.pt", "trained on another model than embedded:ft"),
        (
            "embedded:zero-shot",
            "lora-ft.pt",
            "a checkpoint, but not one of adapters; give METHOD.adapters.pt",
        ),
        ("embedded:zero-shot", "none.pt", "cannot read the checkpoint"),
        ("embedded:best", "lora-ft.adapters.pt", "no embedded checkpoint 'best'"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    base: str, given: str, message: str, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["merge", base, str(trained / given), "--out", str(tmp_path / "merged.pt")]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_adapters_alone_are_neither_analysed_nor_trained_on(trained: Path, tmp_path: Path) -> None:
    alone = trained / "lora-ft.adapters.pt"
    message = "holds low-rank adapters alone; make a checkpoint of them: grace merge"
    with pytest.raises(UserError, match=message):
        subject.load(checkpoint.read(alone))
    with pytest.raises(UserError, match=message):
        loop.train(compose("ft"), tmp_path / "out", initial=str(alone))
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(UserError, match=r"there\.pt is there already; choose another --out"):
        adapters.merge(ZERO_SHOT, trained / "lora-ft.adapters.pt", tmp_path / "there.pt")
    assert (tmp_path / "there.pt").read_text() == "mine"
