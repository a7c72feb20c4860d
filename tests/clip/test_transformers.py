"""CLIP and SigLIP of Hugging Face transformers: what is loaded gives transformers' own logits, and nothing is run."""

import builtins
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from geomlab import architectures, checkpoint, clip, pretrained, subject
from geomlab.architectures import Labels, clips
from geomlab.checkpoint import Checkpoint
from geomlab.clip import huggingface, kept
from geomlab.data.decode import fit
from geomlab.data.places import Limits
from geomlab.differentiable import plain_attention
from geomlab.errors import UserError
from geomlab.features.texts import extract_texts
from geomlab.results import open_results
from geomlab.spec import escape, parse
from geomlab.subject import Subject
from tests import cli
from tests.clip import folders

KINDS = ["clip", "siglip"]
LABELS = Labels(("cat", "dog", "fish"), ("a photo of the {}",))
IMAGES = torch.rand(4, 3, folders.SIDE, folders.SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kept.VARIABLE, "")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def here(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    return folders.save(tmp_path_factory.mktemp(kind) / "my, own=model", kind, folders.model(kind))


def copied(here: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(here, tmp_path / "copy"))


def spec_of(where: Path) -> str:
    return f"transformers:{escape(str(where))}"


def normalised(kind: str) -> Tensor:
    processor = folders.processor(kind)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std)
    )
    return (IMAGES - mean) / std


def expected(kind: str, model: Any, images: Tensor | None = None) -> Tensor:
    """transformers' own logits, of texts that its own tokenizer pads as its documentation says."""
    texts = [LABELS.templates[0].replace("{}", name) for name in LABELS.classes]
    how = {"padding": "max_length", "max_length": folders.CONTEXT} if kind == "siglip" else {"padding": True}
    tokens = folders.TOKENIZERS[kind]()(texts, return_tensors="pt", **how)
    more = {} if kind == "siglip" else {"attention_mask": tokens["attention_mask"]}
    given = normalised(kind) if images is None else images
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens["input_ids"], pixel_values=given, **more).logits_per_image
    return logits


def loaded(read: Checkpoint, where: Path, labels: Labels | None = LABELS) -> Subject:
    return subject.load(read, model=spec_of(where), labels=labels)


def refused(where: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        subject.load(pretrained.read(spec_of(where)), labels=LABELS)


def test_logits_are_transformers_own(kind: str, here: Path) -> None:
    """To 1e-6 in double precision, the head included: on disk and in the head of `load` numbers have single."""
    source = folders.model(kind).double()
    repository = huggingface.Repository.of(parse(spec_of(here)))
    towers = huggingface.TwoTowers(source).eval()

    def tokenize() -> Any:
        return huggingface.tokenizer(repository, source.config, towers.text_eos_id)

    own = huggingface_preprocessing(here)
    network = clips.classifier(towers, tokenize, LABELS, own, parse(spec_of(here)), trained=None)
    images = normalised(kind).double()
    torch.testing.assert_close(network.module(images), expected(kind, source, images), rtol=0, atol=1e-6)
    assert float(expected(kind, source, images).std()) > 0.05


def huggingface_preprocessing(where: Path) -> architectures.Preprocessing:
    return architectures.own_weights(spec_of(where))[1]


def test_a_folder_in_place_of_a_checkpoint(kind: str, here: Path) -> None:
    read = subject.load(pretrained.read(spec_of(here)), labels=LABELS)
    torch.testing.assert_close(read(IMAGES), expected(kind, folders.model(kind)))
    assert read.classes == LABELS.classes
    assert read.layers() == [f"visual.vision_model.encoder.layers.{number}" for number in range(2)]
    every = read.activations(IMAGES, read.layers())
    tokens = 5 if kind == "clip" else 4  # the patches, and the class of a CLIP
    shapes = {name: tuple(layer.shape) for name, layer in every.items()}
    assert shapes.pop("features") == (4, 8 if kind == "clip" else 16)
    assert set(shapes.values()) == {(4, tokens, 16)}
    assert {"head.weight"} == {name for name in read.weights if name.startswith("head.")} - {"head.bias"}
    assert ("head.bias" in read.weights) == (kind == "siglip")


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_of_both_towers_over_a_folder_without_weights(ending: str, kind: str, tmp_path: Path) -> None:
    where, model = folders.save(tmp_path / "model", kind), folders.model(kind, seed=1)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = tmp_path / f"net.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    torch.testing.assert_close(loaded(checkpoint.read(path), where)(IMAGES), expected(kind, model))
    checkpoint.write(path, state, {"architecture": {"spec": spec_of(where)}})
    read = subject.load(checkpoint.read(path), labels=LABELS)
    torch.testing.assert_close(read(IMAGES), expected(kind, model))
    refused(where, r"holds no weights \(model\.safetensors or pytorch_model\.bin\)")


FORMS = {
    "of old versions": lambda state: {**state, "vision_model.embeddings.position_ids": torch.arange(5)[None]},
    "of Lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "scale as a list": lambda state: {**state, "logit_scale": state["logit_scale"].reshape(1)},
    "in half precision": lambda state: {k: v.bfloat16() for k, v in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_file(form: str, kind: str, here: Path, tmp_path: Path) -> None:
    model = folders.model(kind, seed=1)
    torch.save(FORMS[form](model.state_dict()), tmp_path / "net.pt")
    if form == "in half precision":
        model.load_state_dict({name: tensor.bfloat16() for name, tensor in model.state_dict().items()})
    read = loaded(checkpoint.read(tmp_path / "net.pt"), here)
    torch.testing.assert_close(read(IMAGES), expected(kind, model))
    assert read.dtype == torch.float32


@pytest.mark.parametrize("prefix", [True, False])
def test_an_image_tower_takes_its_text_tower_from_the_folder(
    prefix: bool, kind: str, here: Path, tmp_path: Path
) -> None:
    start, robust = folders.model(kind), folders.model(kind, seed=1)
    state = {
        name if prefix else name.removeprefix("vision_model."): tensor
        for name, tensor in robust.state_dict().items()
        if name.startswith(("vision_model.", "visual_projection."))
    }
    torch.save(state, tmp_path / "net.pt")
    start.vision_model = robust.vision_model
    if kind == "clip":
        start.visual_projection = robust.visual_projection
    read = loaded(checkpoint.read(tmp_path / "net.pt"), here)
    torch.testing.assert_close(read(IMAGES), expected(kind, start))


def test_a_trained_head_beside_the_weights(kind: str, here: Path) -> None:
    model, towers = folders.model(kind), None
    head = torch.randn(5, 8 if kind == "clip" else 16, generator=torch.Generator().manual_seed(1))
    read = loaded(Checkpoint({**model.state_dict(), "head.weight": head}), here, None)
    towers = huggingface.TwoTowers(model)
    features = F.normalize(towers.visual(normalised(kind)), dim=-1)
    torch.testing.assert_close(read(IMAGES), features @ head.T)
    torch.testing.assert_close(read.features(IMAGES), features)
    assert (read.text, read.zero_shot) == (None, None)
    with pytest.raises(UserError, match=r"head\.weight is float32 \(2, 3\), expected floating-point numbers"):
        loaded(Checkpoint({**model.state_dict(), "head.weight": torch.ones(2, 3)}), here)
    with pytest.raises(UserError, match="needs class names for its zero-shot head"):
        loaded(Checkpoint(model.state_dict()), here, None)


def test_texts_layer_by_layer(kind: str, here: Path) -> None:
    """The embeddings are transformers' own, and what its text tower makes of the pooled last block."""
    tower = subject.load(pretrained.read(spec_of(here)), labels=LABELS).text
    assert tower is not None
    found = extract_texts(tower, tower.prompts())
    last = "text.model.encoder.layers.1"
    assert list(found) == ["text.model.encoder.layers.0", last, "features"]
    model: Any = folders.model(kind)
    with torch.no_grad():
        tokens = tower.tokenize(tower.prompts())
        torch.testing.assert_close(model.get_text_features(input_ids=tokens).pooler_output, found["features"])
        project = model.text_projection if kind == "clip" else model.text_model.head
        torch.testing.assert_close(project(model.text_model.final_layer_norm(found[last])), found["features"])
    every = extract_texts(tower, tower.prompts(), [last], pooling="none")[last].view(3, folders.CONTEXT, -1)
    mean = extract_texts(tower, tower.prompts(), [last], pooling="mean")[last]
    for row, ids in enumerate(tokens.tolist()):
        counted = ids.index(1) + 1 if kind == "clip" else folders.CONTEXT
        torch.testing.assert_close(mean[row], every[row, :counted].mean(0))


def test_a_clip_of_an_old_version_pools_at_its_largest_token() -> None:
    """transformers before 4.31 wrote an end of 2 for every tokenizer."""
    towers = huggingface.TwoTowers(folders.model("clip", eos_token_id=2))
    assert (towers.text_pool_type, towers.text_eos_id) == ("argmax", None)
    tokens = torch.tensor([[0, 5, 63, 1, 1, 1], [0, 63, 4, 4, 1, 1]])
    cut = tokens.clone()
    cut[0, 3:], cut[1, 2:] = 7, 7  # what is after the largest is not seen
    torch.testing.assert_close(towers.encode_text(tokens), towers.encode_text(cut))


def test_siglip_s_texts_lose_their_punctuation(tmp_path: Path) -> None:
    """Which transformers' own class does in Python, so that no table has it (transformers#26522)."""
    where = folders.save(tmp_path / "model", "siglip")
    plain = folders.of_siglip()("a photo of the cat", padding="max_length", max_length=folders.CONTEXT)
    assert tokens_of(where, ["A photo,  of the cat."]).tolist() == [plain["input_ids"]]
    folders.change(where / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert tokens_of(where, ["A photo of the cat."])[0, 4] == 0  # "cat." is no word
    folders.change(where / "tokenizer_config.json", tokenizer_class=None)
    assert tokens_of(where, ["a photo of the cat!"]).tolist() == [plain["input_ids"]]


def test_a_siglip_of_cased_texts(tmp_path: Path) -> None:
    where = folders.save(tmp_path / "model", "siglip")
    table = json.loads((where / "tokenizer.json").read_text())
    (where / "tokenizer.json").write_text(json.dumps({**table, "normalizer": None}))
    assert tokens_of(where, ["A dog"])[0, 0] == 2
    folders.change(where / "tokenizer_config.json", do_lower_case=False)
    assert tokens_of(where, ["A dog"])[0, 0] == 0


def tokens_of(where: Path, texts: list[str], kind: str = "siglip", **text: Any) -> Tensor:
    repository = huggingface.Repository.of(parse(spec_of(where)))
    towers = huggingface.TwoTowers(folders.model(kind, **text))
    config = folders.config(kind, **text)
    return huggingface.tokenizer(repository, config, towers.text_eos_id)(texts)


def test_long_texts_are_cut_as_transformers_cuts_them(kind: str, here: Path) -> None:
    text = "a photo of the cat " * 9
    own = folders.TOKENIZERS[kind]()(text, truncation=True, max_length=folders.CONTEXT)["input_ids"]
    assert tokens_of(here, [text], kind).tolist() == [own]


def test_a_head_is_made_once(kind: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And anew where the text tower, its heads or its end are others."""
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path))

    def made(model: Any) -> Tensor:
        return clip.kept_head(huggingface.TwoTowers(model), tokenize, LABELS.classes, LABELS.templates)

    def tokenize(texts: list[str]) -> Tensor:
        return tokens_of(here, texts, kind)

    head = made(folders.model(kind))
    assert not torch.allclose(made(folders.model(kind, num_attention_heads=2)), head)
    made(folders.model(kind, seed=1))
    assert len(list((tmp_path / "zero-shot").iterdir())) == 3
    monkeypatch.setattr(kept, "zero_shot_head", None)
    assert torch.equal(made(folders.model(kind)), head)


def asymmetry(model: Any) -> float:
    """Of the Hessian of an image tower with respect to a part of a weight of its first block, of its largest entry."""
    tower = huggingface.TwoTowers(model.double()).visual
    images = normalised("clip").double()
    weight = tower.get_submodule("vision_model.encoder.layers.0.self_attn.k_proj").weight
    with plain_attention():
        loss = tower(images).square().sum(1).log().sum()
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    rows = [torch.autograd.grad(x, weight, retain_graph=True)[0].flatten() for x in gradient.flatten()[:32]]
    hessian = torch.stack(rows)[:, :32]
    return float((hessian - hessian.T).abs().max() / hessian.abs().max())


def test_attention_is_twice_differentiable_in_double_precision(kind: str, here: Path) -> None:
    """transformers' `eager` is not: its softmax is in single precision."""
    model = huggingface.create(huggingface.Repository.of(parse(spec_of(here))))
    assert asymmetry(model) < 1e-12
    model.set_attn_implementation("eager")
    assert asymmetry(model) > 1e-9


@pytest.fixture
def hub(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub whose one repository is `org/model`; what is asked of it."""
    asked: list[str] = []

    def fetch(repository: str, name: str) -> str:
        asked.append(f"{repository}/{name}")
        if repository != "org/model":
            raise OSError(f"no {repository}\nand more")
        if not (here / name).is_file():
            raise EntryNotFoundError(f"no {name}")
        return str(here / name)

    monkeypatch.setattr(huggingface.repository, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_repository_of_the_hub(kind: str, hub: list[str]) -> None:
    read = subject.load(pretrained.read("transformers:org/model"), labels=LABELS)
    torch.testing.assert_close(read(IMAGES), expected(kind, folders.model(kind)))
    assert {one.rpartition("/")[0] for one in hub} == {"org/model"}
    assert {one.rpartition(".")[2] for one in hub} == {"json", "safetensors"}


def test_a_folder_comes_before_the_hub_and_nothing_is_fetched_for_it(
    kind: str, here: Path, hub: list[str], tmp_path: Path
) -> None:
    shutil.copytree(here, tmp_path / "org" / "model")
    subject.load(pretrained.read("transformers:org/model"), labels=LABELS)
    assert hub == []


def test_weights_that_are_given_are_not_fetched(kind: str, hub: list[str]) -> None:
    subject.load(Checkpoint(folders.model(kind).state_dict()), model="transformers:org/model", labels=LABELS)
    assert not any(one.endswith(("safetensors", "bin")) for one in hub)


def test_a_repository_that_a_checkpoint_names_is_not_fetched(
    kind: str, hub: list[str], tmp_path: Path
) -> None:
    state, about = folders.model(kind).state_dict(), {"architecture": {"spec": "transformers:org/model"}}
    for ending in ("pt", "safetensors"):
        path = tmp_path / f"net.{ending}"
        checkpoint.write(path, state, about)
        with pytest.raises(UserError, match=r"asks for .*downloaded.*--model transformers:org/model"):
            subject.load(pretrained.read(path), labels=LABELS)
        assert hub == []
        subject.load(pretrained.read(path), model="transformers:org/model", labels=LABELS)
        hub.clear()


@pytest.mark.parametrize("error", [OSError("no org/other\nand more"), LocalEntryNotFoundError("cache")])
def test_a_hub_out_of_reach_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(repository: str, name: str) -> str:
        raise error

    monkeypatch.setattr(huggingface.repository, "fetch", fetch)
    with pytest.raises(
        UserError, match=r"config\.json cannot be had: (no org/other|the hub is out of reach); give a folder"
    ):
        pretrained.read("transformers:org/other")


def test_the_hub_is_asked_for_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *given: asked.append(given) or "x")
    assert huggingface.repository.fetch("org/model", "config.json") == "x"
    assert asked == [("org/model", "config.json")]


def test_code_beside_a_config_is_never_run(kind: str, here: Path, tmp_path: Path) -> None:
    """Neither what `auto_map` names for the Auto classes, nor an attention of the hub."""
    where, marker = copied(here, tmp_path), tmp_path / "was-run"
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    for name in ("evil", "modeling_evil", "tokenization_evil"):
        (where / f"{name}.py").write_text(code)
    named = {f"Auto{part}": f"evil.Evil{part}" for part in ("Config", "Model", "ImageProcessor", "Processor")}
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        folders.change(
            where / name, auto_map={**named, "AutoTokenizer": ["evil.EvilTokenizer", None]},
            attn_implementation="evil/kernel", _attn_implementation="evil/kernel", use_kernels=True,
        )  # fmt: skip
    config = json.loads((where / "config.json").read_text())
    for side in ("text_config", "vision_config"):
        config[side] |= {"auto_map": named, "attn_implementation": "evil/kernel", "torch_dtype": "float16"}
    (where / "config.json").write_text(json.dumps(config))
    read = subject.load(pretrained.read(spec_of(where)), labels=LABELS)
    torch.testing.assert_close(read(IMAGES), expected(kind, folders.model(kind)))
    assert not marker.exists()
    assert "evil" not in sys.modules


def test_weights_that_are_code_are_refused_with_the_line_that_converts_them(
    kind: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    (where / "model.safetensors").unlink()
    torch.save(folders.model(kind), where / "pytorch_model.bin")
    refused(where, r"pytorch_model\.bin: loading it would run code .* convert it once: python -c")
    torch.save(folders.model(kind).state_dict(), where / "pytorch_model.bin")
    read = subject.load(pretrained.read(spec_of(where)), labels=LABELS)
    torch.testing.assert_close(read(IMAGES), expected(kind, folders.model(kind)))


def test_weights_of_another_model_or_of_one_tower(kind: str, here: Path, tmp_path: Path) -> None:
    where = copied(here, tmp_path)
    state = {k: v.clone() for k, v in folders.model(kind).state_dict().items() if "text_model" not in k}
    save_file(state, where / "model.safetensors")
    refused(where, r"model\.safetensors: the weights do not fit transformers:.*missing text_model")
    (where / "model.safetensors").rename(where / "model.safetensors.index.json")
    refused(where, r"its weights are in several files; save them as one")


def test_transformers_that_is_not_installed(kind: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *more: Any, **options: Any) -> Any:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    refused(
        here, r"needs transformers \(No module named 'transformers'\); pip install 'geomlab\[transformers\]'$"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "siglip2"}, r"a model of type siglip2; of transformers' models geomlab takes clip and siglip"),
        ({"model_type": None}, "a model of type None"),
        ({"model_type": ["clip"]}, r"a model of type \['clip'\]"),
        ({"vision_config": 3}, "its config.json does not describe a model of type"),
        ({"vision_config": {"hidden_size": "wide"}}, "does not describe a model of type"),
        ({"vision_config": {"num_attention_heads": 7}}, "does not describe a model of type"),
        ({"vision_config": {"hidden_act": "nonsense"}}, "does not describe a model of type"),
        ({"vision_config": {"image_size": [16, 32]}}, "does not describe|expected squares"),
        ({"vision_config": {"patch_size": [8, 4]}}, "does not describe|expected squares"),
        ({"vision_config": {"hidden_size": 18, "num_attention_heads": 2}}, "embeddings of 16|do not fit"),
    ],
)  # fmt: skip
def test_configs_that_are_refused(
    changes: dict[str, Any], message: str, kind: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    config = json.loads((where / "config.json").read_text())
    for name, value in changes.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) else value
    (where / "config.json").write_text(json.dumps(config))
    refused(where, message)


@pytest.mark.parametrize(
    ("of", "side", "changes", "message"),
    [
        ("siglip", "vision_config", {"vision_use_head": False}, "an image tower without a pooling head"),
        ("siglip", "text_config", {"projection_size": 10}, "embeddings of 10 numbers for texts and 16 for images"),
        ("clip", "text_config", {"eos_token_id": [1, 2]}, r"an eos_token_id of \[1, 2\]"),
        ("clip", "text_config", {"eos_token_id": 60}, "its tokenizer ends no text with token 60"),
        ("clip", "vision_config", {"image_size": [16, 32]}, r"images of \[16, 32\]|does not describe"),
    ],
)  # fmt: skip
def test_configs_of_one_kind_that_are_refused(
    of: str, side: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    where = folders.save(tmp_path / "model", of, folders.model(of))
    config = json.loads((where / "config.json").read_text())
    config[side] |= changes
    (where / "config.json").write_text(json.dumps(config))
    refused(where, message)


@pytest.mark.parametrize(("content", "message"), [("{", "config.json is no JSON"), ("[1]", "but a list")])
def test_a_config_that_is_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    refused(tmp_path, message)
    (tmp_path / "config.json").unlink()
    refused(tmp_path, r"holds no config\.json")


@pytest.mark.parametrize(
    "place", ["", "/nowhere/at/all", "nowhere", "../org/model", "a/b/c", "a" * 5000, "a\0"]
)
def test_what_is_no_folder_and_no_repository(place: str) -> None:
    named = Checkpoint({"x": torch.ones(1)}, {"architecture": {"spec": f"transformers:{place}"}}, sha256="0")
    with pytest.raises(UserError, match="which would be downloaded; if you want it, name it yourself"):
        subject.load(named)
    with pytest.raises(
        UserError, match="no such folder; write transformers:FOLDER, or transformers:ORG/REPO"
    ):
        huggingface.Repository.of(parse(f"transformers:{place}"))
    with pytest.raises(UserError, match="unknown option"):
        pretrained.read("transformers:org/model,revision=main")


IMAGE_FILE = "preprocessor_config.json"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"num_hidden_layers": 10**9}, "1000000000 layers"), ({"vocab_size": 10**12}, r"[\d,]{14,} parameters")],
)
def test_a_config_of_a_network_that_nobody_has(
    sizes: dict[str, int], message: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    text = json.loads((where / "config.json").read_text())["text_config"]
    folders.change(where / "config.json", text_config={**text, **sizes})
    refused(where, rf"its config\.json does not describe a model of .* \(TooLarge: {message}\)")


def test_files_are_resized_as_the_library_does(kind: str, here: Path, tmp_path: Path) -> None:
    """CLIP's cuts out the centre, SigLIP's squeezes, and CLIP's too where its file says both sides."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image, where = Image.fromarray(noise).resize((45, 30)), copied(here, tmp_path)
    for size in (None, {"height": 16, "width": 16}):
        if size:
            folders.change(where / IMAGE_FILE, size=size)
        found = huggingface_preprocessing(where)
        library = type(folders.processor(kind)).from_pretrained(where)
        theirs = library(image, return_tensors="pt")["pixel_values"][0]
        mean, std = (torch.tensor(one)[:, None, None] for one in (found.mean, found.std))
        ours = (fit(image, found.frame, Limits()) - mean) / std
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2 / 255 / min(found.std))  # it rounds to bytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"height": 16, "width": 32}}, "a size of .*squares of 16 pixels"),
        ({"size": {"shortest_edge": 20}}, "a size of .*squares of 16 pixels"),
        ({"size": 24}, "a size of 24"),
        ({"size": [16, 16]}, r"a size of \[16, 16\]"),
        ({"size": {"height": [16]}}, "a size of .*squares of 16 pixels"),
        ({"size": {}}, "a size of {}"),
        ({"rescale_factor": 10**400}, "a rescale_factor of 1000"),
        ({"image_mean": [10**400] * 3}, "an image_mean of .*expected 3 numbers each"),
        ({"crop_size": {"height": 8, "width": 8}, "do_center_crop": True}, "a crop_size of"),
        ({"do_rescale": False}, "a rescale_factor of none, expected 1/255"),
        ({"rescale_factor": 1 / 127.5}, "a rescale_factor of 0.0078"),
        ({"rescale_factor": "x"}, "a rescale_factor of x"),
        ({"image_mean": [0.5]}, r"an image_mean of \[0\.5\] .*expected 3 numbers each"),
        ({"image_std": [0.5, 0, 0.5]}, "an image_mean of .* and an image_std of"),
        ({"image_std": "x"}, "an image_mean of .* and an image_std of x"),
    ],
)
def test_preprocessing_that_cannot_be_said(
    changes: dict[str, Any], message: str, kind: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    folders.change(where / IMAGE_FILE, **changes)
    refused(where, rf"its preprocessor_config\.json has {message}")


def test_preprocessing_in_the_forms_it_is_saved_in(kind: str, here: Path, tmp_path: Path) -> None:
    where = copied(here, tmp_path)
    own = folders.processor(kind)
    mean, std = tuple(own.image_mean), tuple(own.image_std)
    mode = {"clip": "shortest", "siglip": "squash"}[kind]
    assert huggingface_preprocessing(where) == architectures.Preprocessing(16, mean, std, mode=mode)
    about = json.loads((where / IMAGE_FILE).read_text())
    early = {"size": 16, "do_normalize": False, "image_mean": None, "resample": 2}
    folders.change(where / IMAGE_FILE, **early)
    bare = architectures.Preprocessing(16, (0.0,) * 3, (1.0,) * 3, interpolation="bilinear")
    assert huggingface_preprocessing(where) == bare
    (where / IMAGE_FILE).unlink()
    (where / "processor_config.json").write_text(json.dumps({"image_processor": about}))
    assert huggingface_preprocessing(where) == architectures.Preprocessing(16, mean, std, mode=mode)
    folders.change(where / "processor_config.json", image_processor=None)
    refused(where, r"holds no preprocessor_config\.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tokenizer_class": "GemmaTokenizerFast"},
            "its tokenizer is a GemmaTokenizer; geomlab takes CLIPTokenizer, .*not that of SigLIP 2",
        ),
        ({"pad_token": None}, r"names no pad_token of its tokenizer\.json \(None\)"),
        ({"pad_token": {"content": "<pad>"}}, r"names no pad_token of its tokenizer\.json \(<pad>\)"),
    ],
)
def test_tokenizers_that_are_refused(
    changes: dict[str, Any], message: str, kind: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    folders.change(where / "tokenizer_config.json", **changes)
    refused(where, message)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "holds no"), ("{", "its tokenizer.json cannot be read")]
)
def test_a_tokenizer_that_is_none(
    content: str | None, message: str, kind: str, here: Path, tmp_path: Path
) -> None:
    where = copied(here, tmp_path)
    (where / "tokenizer.json").unlink()
    if content is not None:
        (where / "tokenizer.json").write_text(content)
    refused(where, message)


def test_a_tokenizer_of_a_larger_vocabulary(here: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"its tokenizer gives token \d+, its text tower has 3"):
        tokens_of(here, ["a photo of the cat"], kind, vocab_size=3)


@pytest.mark.parametrize(("of", "part"), [("clip", "layers.1.self_attn"), ("siglip", "vision_model.head")])
def test_an_analysis_with_curvature(of: str, part: str, tmp_path: Path) -> None:
    """In place of a checkpoint, and with one; from image files and their folders' names."""
    where = folders.save(tmp_path / "model", of, folders.model(of))
    torch.save(folders.model(of, seed=1).state_dict(), tmp_path / "net.pt")
    given = [spec_of(where)] if of == "clip" else [tmp_path / "net.pt", "--model", spec_of(where)]
    result = cli.run(
        "analyze", *given, "--data", f"folder:{folders.pictures(tmp_path / 'pictures', LABELS.classes)}",
        "--out", tmp_path / "out", "--budget", "quick", "--condition", "clean", "--measure", "accuracy,curvature",
        "--samples", "12", "--params", part.replace(".", r"\."),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    name = "model" if of == "clip" else "net"
    curvature = open_results(tmp_path / "out")["curvature"].sel(checkpoint=name, condition="clean")
    assert curvature["trace"].item() != 0
    assert all(part in layer for layer in curvature["layer"].values)


def test_info_of_a_folder(kind: str, here: Path, tmp_path: Path) -> None:
    shown = cli.run("info", here)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == f"is:           {kind} of Hugging Face transformers, a folder"
    assert lines[-1] == f"analyse:      geomlab analyze '{spec_of(here)}' --data SPEC"
    cli.refused(
        cli.run("info", tmp_path), "a folder, and no model of transformers that geomlab takes (clip, siglip)"
    )
