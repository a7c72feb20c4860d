"""Checkpoints of CLIPs in the forms they are found in: written, read, and the logits are those of the network."""

from collections.abc import Callable, Mapping
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from geomlab import checkpoint, subject
from geomlab.architectures import Labels
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from geomlab.subject import Subject
from tests.clip import tiny

LABELS = Labels(("cat", "dog", "fish"), ("a photo of a {}.", "a drawing of a {}."))
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SPEC = "open_clip:geomlab-tiny"
State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return tiny.model()


def expected(model: torch.nn.Module, visual: torch.nn.Module | None = None) -> Tensor:
    """Logits as open_clip computes them, of the image tower of a model, or of another."""
    tokenize = open_clip.get_tokenizer("geomlab-tiny")
    templates = [lambda name, t=t: t.format(name) for t in LABELS.templates]
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.no_grad():
        head = open_clip.build_zero_shot_classifier(model, tokenize, list(LABELS.classes), templates)
        features = F.normalize((visual or model.visual)((IMAGES - mean) / std), dim=-1)
        return model.logit_scale.exp() * features @ head


def loaded(path: Path, spec: str = SPEC) -> Subject:
    return subject.load(checkpoint.read(path), model=spec, labels=LABELS)


WHOLE: dict[str, Callable[[State], object]] = {
    "bare": lambda state: state,
    "of open_clip's training": lambda state: {
        "epoch": 3, "name": "run", "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {},
    },
    "compiled": lambda state: {"state_dict": {f"_orig_mod.{k}": v for k, v in state.items()}},
    "of Lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "nested": lambda state: {"model": {"state_dict": {f"module.{k}": v for k, v in state.items()}}},
    "scale as a list": lambda state: {**state, "logit_scale": state["logit_scale"].reshape(1)},
    "text apart": lambda state: {
        k if k.startswith(("visual.", "logit_scale")) else f"text.{k}": v for k, v in state.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("form", WHOLE)
def test_a_whole_clip(form: str, model: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(WHOLE[form](model.state_dict()), tmp_path / "net.pt")
    read = loaded(tmp_path / "net.pt")
    torch.testing.assert_close(read(IMAGES), expected(model))
    assert read.text is not None


def test_a_whole_clip_in_safetensors(model: torch.nn.Module, tmp_path: Path) -> None:
    save_file(
        {name: tensor.clone() for name, tensor in model.state_dict().items()}, tmp_path / "net.safetensors"
    )
    torch.testing.assert_close(loaded(tmp_path / "net.safetensors")(IMAGES), expected(model))


def of_openai(model: torch.nn.Module) -> dict[str, Tensor]:
    """As `torch.jit.load("ViT-B-32.pt").state_dict()` gives it: matrices in half precision, and three sizes."""
    sizes = {"input_resolution": 16, "context_length": 16, "vocab_size": 49408}
    state = {
        name: tensor.half() if tensor.ndim > 1 and "embedding" not in name else tensor
        for name, tensor in model.state_dict().items()
    }
    return {**state, **{name: torch.tensor(size) for name, size in sizes.items()}}


def test_openai_s_in_half_precision_with_its_sizes(tmp_path: Path) -> None:
    model = tiny.model("geomlab-tiny-quickgelu")
    state = of_openai(model)
    torch.save(state, tmp_path / "net.pt")
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    read = loaded(tmp_path / "net.pt", "open_clip:geomlab-tiny-quickgelu")
    torch.testing.assert_close(read(IMAGES), expected(model))
    assert read.dtype == torch.float32


def test_openai_s_are_refused_where_the_network_has_gelu(tmp_path: Path) -> None:
    torch.save(of_openai(tiny.model()), tmp_path / "net.pt")
    with pytest.raises(
        UserError,
        match=r"net\.pt: open_clip:geomlab-tiny has GELU, and OpenAI's weights were trained with QuickGELU "
        r"\(open_clip#771\); write open_clip:geomlab-tiny-quickgelu",
    ):
        loaded(tmp_path / "net.pt")


TOWER: dict[str, Callable[[State], object]] = {
    "FARE": lambda state: state,
    "FARE on several devices": lambda state: {f"module.{k}": v for k, v in state.items()},
    "TeCoA": lambda state: {"vision_encoder_state_dict": state, "epoch": 1},
    "with its prefix": lambda state: {f"visual.{k}": v for k, v in state.items()},
    "wrapped": lambda state: {"state_dict": {f"module.model.{k}": v for k, v in state.items()}},
}


@pytest.mark.parametrize("form", TOWER)
@pytest.mark.parametrize("source", ["file", "tag"])
def test_an_image_tower_takes_its_text_tower_from_the_spec(
    form: str, source: str, model: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robust = tiny.model(seed=1).visual
    torch.save(model.state_dict(), tmp_path / "start.pt")
    torch.save(TOWER[form](robust.state_dict()), tmp_path / "net.pt")
    tags = {"geomlab-tiny": {"mine": {"file": str(tmp_path / "start.pt")}}}
    monkeypatch.setattr("open_clip.pretrained._PRETRAINED", tags)
    place = tmp_path / "start.pt" if source == "file" else "mine"
    read = loaded(tmp_path / "net.pt", f"{SPEC},pretrained={place}")
    torch.testing.assert_close(read(IMAGES), expected(model, robust))
    assert not torch.allclose(read(IMAGES), expected(model))


@pytest.mark.parametrize("form", TOWER)
def test_an_image_tower_alone_is_refused_with_what_to_give(form: str, tmp_path: Path) -> None:
    torch.save(TOWER[form](tiny.model().visual.state_dict()), tmp_path / "net.pt")
    with pytest.raises(
        UserError,
        match=r"image tower alone.*--model open_clip:NAME,pretrained=TAG \(or a file\).*head\.weight",
    ):
        loaded(tmp_path / "net.pt")


def test_an_image_tower_with_class_weights_needs_no_text(tmp_path: Path) -> None:
    visual, head = tiny.model().visual, torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    torch.save({**visual.state_dict(), "head.weight": head}, tmp_path / "net.pt")
    read = loaded(tmp_path / "net.pt")
    torch.testing.assert_close(read(IMAGES), F.linear(F.normalize(features(visual), dim=-1), head))
    assert (read.text, read.zero_shot, read.classes) == (None, None, LABELS.classes)


def features(visual: torch.nn.Module) -> Tensor:
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.no_grad():
        return visual((IMAGES - mean) / std)


def test_a_classifier_of_wise_ft_once_it_is_converted(model: torch.nn.Module, tmp_path: Path) -> None:
    """Its image encoder keeps the CLIP but for the blocks of the text tower; its head is linear, with a bias."""
    generator = torch.Generator().manual_seed(2)
    head, bias = torch.randn(3, 8, generator=generator), torch.randn(3, generator=generator)
    state = {
        f"image_encoder.model.{name}": tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("transformer.")
    }
    state |= {"classification_head.weight": head, "classification_head.bias": bias}
    torch.save(state, tmp_path / "net.pt")
    read = loaded(tmp_path / "net.pt")
    torch.testing.assert_close(
        read(IMAGES), F.linear(F.normalize(features(model.visual), dim=-1), head, bias)
    )
    assert {"head.weight", "head.bias"} <= set(read.weights)


def test_what_fits_no_tower_is_named(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2, 3)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"do not fit open_clip:geomlab-tiny.*visual\.class_embedding"):
        loaded(tmp_path / "net.pt")


def test_a_text_tower_is_not_taken_from_a_file_without_one(tmp_path: Path) -> None:
    torch.save(tiny.model().visual.state_dict(), tmp_path / "net.pt")
    with pytest.raises(UserError, match="pretrained takes a file of both towers"):
        loaded(tmp_path / "net.pt", f"{SPEC},pretrained={tmp_path / 'net.pt'}")


@pytest.mark.parametrize(
    ("said", "given"), [("geomlab-tiny", "geomlab-tiny-quickgelu"), tuple(tiny.NAMES)[::-1]]
)
def test_a_network_of_the_other_activation_than_the_checkpoint_says(
    said: str, given: str, model: torch.nn.Module
) -> None:
    written = Checkpoint(model.state_dict(), {"architecture": {"spec": f"open_clip:{said}"}})
    with pytest.raises(UserError, match=rf"the checkpoint says .*open_clip#771\); write open_clip:{said}$"):
        subject.load(written, model=f"open_clip:{given}", labels=LABELS)
    subject.load(written, model=f"open_clip:{said}", labels=LABELS)


def test_the_activation_of_a_network_that_describes_itself(model: torch.nn.Module) -> None:
    about = {"spec": "open_clip:custom", "config": {**tiny.CONFIG, "quick_gelu": True}}
    written = Checkpoint(model.state_dict(), {"architecture": about})
    with pytest.raises(UserError, match="write open_clip:geomlab-tiny-quickgelu"):
        subject.load(written, model=SPEC, labels=LABELS)


def test_a_tag_of_the_other_activation_is_refused() -> None:
    """open_clip 3.3 loads it into a network with GELU and warns."""
    with pytest.raises(
        UserError,
        match=r"has GELU, and the tag openai .* QuickGELU .*; write open_clip:ViT-B-32-quickgelu,pretrained=openai",
    ):
        subject.load(
            Checkpoint({"conv1.weight": torch.ones(1)}), model="open_clip:ViT-B-32,pretrained=openai"
        )
