"""`geomlab info` on a file of each form: what it is, and a command that does analyse it."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from geomlab import checkpoint
from geomlab.data.embedded import checkpoint_path
from tests import cli
from tests.clip import tiny
from tests.clip.test_forms import of_openai

State = dict[str, Tensor]


@pytest.fixture(scope="module", autouse=True)
def _listed(tmp_path_factory: pytest.TempPathFactory) -> None:
    tiny.register(tmp_path_factory.mktemp("configs"))


def whole() -> State:
    return tiny.model().state_dict()


def tower() -> State:
    return tiny.model().visual.state_dict()


FORMS: dict[str, tuple[Callable[[], object], str, list[str]]] = {
    "whole": (
        lambda: {"state_dict": {f"module.{k}": v for k, v in whole().items()}},
        "CLIP of open_clip or OpenAI; by its shapes geomlab-tiny or geomlab-tiny-quickgelu: GELU or QuickGELU cannot",
        ["--model", "open_clip:geomlab-tiny"],
    ),
    "openai": (
        lambda: of_openai(tiny.model()),
        "CLIP of OpenAI, with QuickGELU",
        ["--model", "open_clip:geomlab-tiny-quickgelu"],
    ),
    "FARE": (tower, "image tower of a CLIP", ["--model", "open_clip:geomlab-tiny,pretrained=TAG"]),
    "TeCoA": (
        lambda: {"vision_encoder_state_dict": tower()},
        "image tower of a CLIP",
        ["--model", "open_clip:geomlab-tiny,pretrained=TAG"],
    ),
    "with a head": (
        lambda: {**tower(), "head.weight": torch.ones(3, 8)},
        "image tower of a CLIP",
        ["--model", "open_clip:geomlab-tiny"],
    ),
    "timm": (
        lambda: timm.create_model("test_vit").state_dict(),
        "vision transformer, perhaps of timm",
        ["--model", "timm:NAME"],
    ),
    "torchvision": (
        lambda: torchvision.models.resnet18().state_dict(),
        "ResNet, perhaps of torchvision or timm",
        ["--model", "timm:NAME"],
    ),
    "transformers": (
        lambda: {"vision_model.embeddings.class_embedding": torch.ones(2)},
        "CLIP of Hugging Face transformers, whose folder has the config and the tokenizer",
        ["--model", "transformers:FOLDER"],
    ),
    "SigLIP": (
        lambda: {"vision_model.head.probe": torch.ones(2)},
        "SigLIP of Hugging Face transformers",
        ["--model", "transformers:FOLDER"],
    ),
    "unknown": (
        lambda: {"weight": torch.ones(2)},
        "state_dict of a network that is not recognised",
        ["--model", "MODULE:FACTORY"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_file_is_and_what_analyses_it(form: str, tmp_path: Path) -> None:
    make, kind, command = FORMS[form]
    path = tmp_path / "my net.pt"
    torch.save(make(), path)
    shown = cli.run("info", path)
    assert shown.returncode == 0, shown.stderr
    lines = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert lines["is:"].startswith(kind)
    assert shlex.split(lines["analyse:"]) == ["geomlab", "analyze", str(path), *command, "--data", "SPEC"]
    around = checkpoint.read(path).within
    assert lines.get("within:") == (", ".join(around) or None)


def test_a_checkpoint_that_says_everything_needs_no_option() -> None:
    path = checkpoint_path("ft")
    lines = cli.run("info", path).stdout.splitlines()
    assert lines[0] == "is:           checkpoint of geomlab"
    assert lines[-1] == f"analyse:      geomlab analyze {path}"
