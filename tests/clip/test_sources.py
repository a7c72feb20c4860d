"""SPECs that name weights: a tag, a file, a folder, a repository of the hub. Nothing else is loaded or fetched."""

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

import geomlab
from geomlab import architectures, checkpoint, clip, pretrained, subject
from geomlab.architectures import Labels
from geomlab.errors import UserError
from geomlab.spec import escape, parse
from tests.clip import tiny
from tests.clip.test_forms import IMAGES, LABELS, expected

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


def folder(where: Path, model: torch.nn.Module | None = None, **text: Any) -> Path:
    """A repository as open_clip's `push_to_hub` writes it."""
    where.mkdir(parents=True)
    about = {
        "model_cfg": {**tiny.CONFIG, "text_cfg": {**tiny.CONFIG["text_cfg"], **text}},
        "preprocess_cfg": {"mean": list(MEAN), "std": list(STD)},
    }
    (where / "open_clip_config.json").write_text(json.dumps(about))
    if model is not None:
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        save_file(state, where / "open_clip_model.safetensors")
    return where


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub whose one repository is `org/robust`; what is asked of it."""
    repository, asked = folder(tmp_path / "hub" / "org" / "robust", tiny.model(seed=1)), []

    def fetch(repo_id: str, filename: str, **_: Any) -> str:
        asked.append(f"{repo_id}/{filename}")
        if not (found := repository.parents[1] / repo_id / filename).is_file():
            raise OSError(f"no {filename} in {repo_id}\nand more")
        return str(found)

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", fetch)
    return asked


def test_a_folder(tmp_path: Path) -> None:
    model = tiny.model()
    here = folder(tmp_path / "my, own=model", model)
    read = pretrained.read(f"open_clip:local-dir:{escape(str(here))}")
    torch.testing.assert_close(subject.load(read, labels=LABELS)(IMAGES), expected(model))


def test_a_file_of_a_folder_s_network_and_an_image_tower_beside_its_text_tower(tmp_path: Path) -> None:
    model, robust = tiny.model(), tiny.model(seed=1)
    spec = f"open_clip:local-dir:{folder(tmp_path / 'start', model)}"
    torch.save(robust.state_dict(), tmp_path / "whole.pt")
    torch.save(robust.visual.state_dict(), tmp_path / "tower.pt")
    for file, text in (("whole.pt", robust), ("tower.pt", model)):
        read = subject.load(checkpoint.read(tmp_path / file), model=spec, labels=LABELS)
        torch.testing.assert_close(read(IMAGES), expected(text, robust.visual))


def test_a_repository_of_the_hub(hub: list[str]) -> None:
    read = pretrained.read("open_clip:hf-hub:org/robust")
    torch.testing.assert_close(subject.load(read, labels=LABELS)(IMAGES), expected(tiny.model(seed=1)))
    assert {one.rpartition("/")[0] for one in hub} == {"org/robust"}


def test_a_hub_out_of_reach_is_one_line(hub: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"hf-hub:org/other'.*no open_clip_config.json in org/other.*local-dir"
    ):
        pretrained.read("open_clip:hf-hub:org/other")


@pytest.mark.parametrize("spec", ["open_clip:hf-hub:org/robust", "open_clip:geomlab-tiny,pretrained=TAG"])
def test_a_checkpoint_does_not_ask_the_hub(spec: str, hub: list[str], tmp_path: Path) -> None:
    """An image tower alone, whose text tower would come from there."""
    checkpoint.write(tmp_path / "net.pt", tiny.model().visual.state_dict(), {"architecture": {"spec": spec}})
    with pytest.raises(UserError, match=r"asks for .*, which would be downloaded; .* --model"):
        subject.load(pretrained.read(tmp_path / "net.pt"), labels=LABELS)
    assert hub == []


def test_nothing_is_fetched_for_weights_that_are_given(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model()
    tags = {"geomlab-tiny": {"mine": {"hf_hub": "org/none/", "mean": MEAN, "std": (1, 1, 1)}}}
    monkeypatch.setattr("open_clip.pretrained._PRETRAINED", tags)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    read = subject.load(
        checkpoint.read(tmp_path / "net.pt"), model="open_clip:geomlab-tiny,pretrained=mine", labels=LABELS
    )
    assert hub == []
    assert read.preprocessing.std == (1, 1, 1)
    with pytest.raises(UserError, match="cannot get its weights"):
        pretrained.read("open_clip:geomlab-tiny,pretrained=mine")
    assert hub


def test_a_tag_as_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None) -> None:
    """And its analysis as that of any file."""
    model = tiny.model()
    torch.save(model.state_dict(), tmp_path / "start.pt")
    tags = {"geomlab-tiny": {"mine": {"file": str(tmp_path / "start.pt")}}}
    monkeypatch.setattr("open_clip.pretrained._PRETRAINED", tags)
    spec = "open_clip:geomlab-tiny,pretrained=mine"
    torch.testing.assert_close(subject.load(pretrained.read(spec), labels=LABELS)(IMAGES), expected(model))
    results = geomlab.analyze(
        spec, out=tmp_path / "out", data="glyphs", conditions=["clean"], measures=["accuracy"], samples=10
    )
    assert list(results.checkpoints) == [spec]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_clip:geomlab-tiny", "names no weights; add pretrained=TAG"),
        ("timm:test_vit", "names no weights; add pretrained=yes"),
        ("torchvision:resnet18", "names no weights; add weights=TAG"),
        ("torchvision:resnet18,weights=X", "no weights 'X'; there are IMAGENET1K_V1"),
        ("open_clip:nonsense,pretrained=x", "open_clip has no model 'nonsense'"),
        (
            "open_clip:geomlab-tiny,pretrained=x",
            "no pretrained tag 'x', and no such file; geomlab-tiny has none",
        ),
        ("open_clip:local-dir:/nowhere", "no open_clip_config.json can be had"),
        ("open_clip:coca_ViT-B-32,pretrained=laion2b_s13b_b90k", "a CoCa, whose image tower"),
        ("open_clip:hf-hub:a/b,pretrained=x", "unknown option|no open_clip_config"),
        ("nothing:here", "cannot read the checkpoint"),
    ],
)
def test_what_names_no_weights(spec: str, message: str, hub: list[str]) -> None:
    with pytest.raises(UserError, match=message):
        pretrained.read(spec)


def test_timm_and_torchvision_with_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries fetch them: here they are given what they would have fetched."""
    ours = timm.create_model("test_resnet").eval()
    monkeypatch.setattr("timm.create_model", lambda name, pretrained=False, **_: ours)
    read = pretrained.read("timm:test_resnet,pretrained=yes")
    assert read.digest == checkpoint.Checkpoint(ours.state_dict()).digest
    net = torchvision.models.get_model("squeezenet1_1", weights=None)
    asked: dict[str, Any] = {}

    def fetch(_: object, **options: Any) -> dict[str, torch.Tensor]:
        asked.update(options)
        return net.state_dict()

    monkeypatch.setattr("torchvision.models.SqueezeNet1_1_Weights.get_state_dict", fetch)
    read = pretrained.read("torchvision:squeezenet1_1,weights=IMAGENET1K_V1")
    assert read.digest == checkpoint.Checkpoint(dict(net.state_dict())).digest
    assert asked["weights_only"] is True
    assert subject.load(read).outputs(torch.rand(1, 3, 64, 64)) == 1000


def test_weights_of_timm_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network\nand more")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UserError, match=r"its weights cannot be had: no network; give a file"):
        pretrained.read("timm:test_resnet,pretrained=yes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"tokenizer_kwargs": {"trust_remote_code": True}}, r"tokenizer_kwargs\.trust_remote_code"),
        ({"tokenizer_kwargs": {"auto_map": {}}}, r"tokenizer_kwargs\.auto_map"),
        ({"tokenizer_kwargs": 5}, r"tokenizer_kwargs\."),
        ({"hf_model_name": "x/y"}, "hf_model_name"),
    ],
)
def test_a_config_that_asks_for_code_or_for_more_is_refused(
    text: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """open_clip hands a config's tokenizer_kwargs on to transformers, which would then run a repository's code."""
    here = folder(tmp_path / "model", tiny.model(), **text)
    with pytest.raises(UserError, match=rf"asks for what it does not hold \({message}\)"):
        pretrained.read(f"open_clip:local-dir:{here}")


@pytest.mark.parametrize("name", ["hf-hub:x/y", "local-dir:/x", 3])
def test_a_config_whose_image_tower_is_elsewhere(name: object, tmp_path: Path) -> None:
    here = folder(tmp_path / "model")
    about = json.loads((here / "open_clip_config.json").read_text())
    about["model_cfg"]["vision_cfg"] = {"timm_model_name": name}
    (here / "open_clip_config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="timm_model_name"):
        clip.create(parse(f"open_clip:local-dir:{here}"))


def test_a_tokenizer_of_another_repository(hub: list[str], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "hub")
    folder(tmp_path / "hub" / "org" / "robust", tiny.model(), hf_tokenizer_name="else/where")
    with pytest.raises(UserError, match="hf_tokenizer_name"):
        pretrained.read("open_clip:hf-hub:org/robust")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is no JSON"), ("[]", "describes no CLIP|can be had")]
)
def test_a_config_that_is_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        clip.create(parse(f"open_clip:local-dir:{tmp_path}"))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 10**9}, "1000000000 layers"),
        ({"vocab_size": 10**12}, "parameters"),
        ({"context_length": 300_000}, "parameters"),  # of whose square there is a mask
    ],
)
def test_a_config_of_a_network_that_nobody_has(sizes: dict[str, int], message: str, tmp_path: Path) -> None:
    config = {**tiny.CONFIG, "text_cfg": {**tiny.CONFIG["text_cfg"], **sizes}}
    with pytest.raises(UserError, match=message):
        clip.build(config)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with pytest.raises(UserError, match=f"its open_clip_config.json asks for .*{message}"):
        clip.create(parse(f"open_clip:local-dir:{tmp_path}"))


def test_too_many_prompt_tokens() -> None:
    with pytest.raises(UserError, match="100000000000 prompt tokens"):
        clip.build({**tiny.CONFIG, "prompts": 10**11})


@pytest.mark.parametrize(
    "config",
    [
        {"text_cfg": {**tiny.CONFIG["text_cfg"], "hf_model_name": "else/where"}},
        {"vision_cfg": {**tiny.CONFIG["vision_cfg"], "timm_model_name": "hf-hub:else/where"}},
        {
            "vision_cfg": {"timm_model_name": "resnet18", "timm_model_pretrained": True, "image_size": 16},
            "text_cfg": {**tiny.CONFIG["text_cfg"], "layers": 10**9},
        },
    ],
)
def test_looking_at_a_config_fetches_nothing(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("timm.create_model", "transformers.AutoConfig.from_pretrained"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("asked for what is elsewhere"))
    content = {"model_cfg": {**tiny.CONFIG, **config}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="asks for"):
        clip.create(parse(f"open_clip:local-dir:{tmp_path}"))


def test_a_folder_without_weights_is_no_random_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot get its weights: Required pretrained weights"):
        pretrained.read(f"open_clip:local-dir:{folder(tmp_path / 'model')}")


def test_a_folder_whose_weights_are_code(tmp_path: Path) -> None:
    here = folder(tmp_path / "model")
    torch.save(tiny.model(), here / "pytorch_model.bin")
    with pytest.raises(UserError, match="its weights would run code"):
        pretrained.read(f"open_clip:local-dir:{here}")


def test_towers_and_tokenizers_that_would_be_downloaded() -> None:
    labels = Labels(("a", "b"))
    with pytest.raises(UserError, match=r"text tower roberta-base would be downloaded.*add pretrained=TAG"):
        architectures.build("open_clip:roberta-ViT-B-32", None, labels=labels)
    with pytest.raises(
        UserError, match=r"tokenizer timm/ViT-B-16-SigLIP would be downloaded.*pretrained=TAG"
    ):
        clip.tokenizer({}, "ViT-B-16-SigLIP")


def test_a_tokenizer_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr("open_clip.get_tokenizer", offline)
    with pytest.raises(
        UserError, match=r"its tokenizer cannot be had: no network; .*pip install transformers"
    ):
        clip.tokenizer({}, "ViT-B-16-SigLIP", fetch=True)
