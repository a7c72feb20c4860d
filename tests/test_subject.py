from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import geomlab
from geomlab import architectures, checkpoint, clip, params, subject
from geomlab.architectures import Labels, Network, Preprocessing
from geomlab.data.embedded import checkpoint_path
from geomlab.errors import UserError
from geomlab.subject import FEATURES, from_network
from tests import models

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def saved(module: nn.Module, folder: Path) -> checkpoint.Checkpoint:
    torch.save(module.state_dict(), folder / "net.pt")
    return checkpoint.read(folder / "net.pt")


def normalised(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_with_its_own_normalisation_and_features(name: str, tmp_path: Path) -> None:
    model = timm.create_model(name, num_classes=5).eval()
    loaded = subject.load(saved(model, tmp_path), model=f"timm:{name}")
    config = timm.data.resolve_data_config({}, model=model)
    size = config["input_size"][-1]
    images = F.interpolate(IMAGES, size=(size, size))
    inputs = normalised(images, config["mean"], config["std"])
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(inputs))
        pooled = model.forward_head(model.forward_features(inputs), pre_logits=True)
        torch.testing.assert_close(loaded.features(images), pooled)
    assert loaded.preprocessing.size == size


def test_another_network_keeps_what_the_checkpoint_says_of_its_classes_and_pixels(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=2).eval()
    about = {
        "architecture": {"spec": "timm:test_vit"},
        "classes": ["dark", "bright"],
        "preprocessing": {"size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    written = checkpoint.write(tmp_path / "net.pt", model.state_dict(), about)
    data = Labels(("bright", "dark"))
    loaded = subject.load(written, model="timm:test_resnet", labels=data)
    assert loaded.architecture == "timm:test_resnet"
    assert loaded.classes == ("dark", "bright")
    assert loaded.preprocessing == Preprocessing(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(IMAGES), model(normalised(IMAGES, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
        )


@pytest.mark.parametrize("given", [None, "timm:test_resnet"])
def test_what_is_not_recorded_of_the_pixels_is_the_library_s(given: str | None, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=2).state_dict()
    config = timm.get_pretrained_cfg("test_resnet")
    side = config.input_size[-1]
    own = (int(side / config.crop_pct), config.interpolation)
    for recorded, size, resizing in (({}, side, own), ({"size": 32}, 32, ()), ({"size": None}, None, ())):
        about = {"architecture": {"spec": "timm:test_resnet"}, "preprocessing": recorded}
        loaded = subject.load(checkpoint.write(tmp_path / "net.pt", state, about), model=given)
        assert loaded.preprocessing == Preprocessing(size, config.mean, config.std, *resizing)


def test_templates_of_a_checkpoint_without_classes_are_for_those_of_the_data() -> None:
    data = Labels(("cat", "dog"), ("a {}",))
    assert architectures.labels_of({"templates": ["my {}"]}, data) == Labels(("cat", "dog"), ("my {}",))
    assert architectures.labels_of({"classes": ["x"]}, data) == Labels(("x",))
    assert architectures.labels_of({}, data) == data


@pytest.mark.parametrize("name", ["timm:test_convnext", "timm:test_resnet", "torchvision:squeezenet1_1"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_the_classifier_is_found_in_whatever_order_the_file_has_its_names(
    name: str, ending: str, tmp_path: Path
) -> None:
    library, _, network = name.partition(":")
    make = timm.create_model if library == "timm" else torchvision.models.get_model
    model = make(network, num_classes=5).eval()
    checkpoint.write(tmp_path / f"net.{ending}", model.state_dict(), {})
    loaded = subject.load(checkpoint.read(tmp_path / f"net.{ending}"), model=name)
    assert loaded.outputs(torch.rand(2, 3, 64, 64)) == 5
    assert params.digest({**loaded.weights, **loaded.buffers}) == params.digest(model.state_dict())


def test_the_classifier_of_torchvision_s_convnext() -> None:
    """Its blocks hold matrices whose names come after the head's in the alphabet."""
    with torch.device("meta"):
        state = torchvision.models.get_model("convnext_tiny", num_classes=5).state_dict()
    tensors = {key: torch.zeros(state[key].shape, dtype=state[key].dtype) for key in sorted(state)}
    network = architectures.build("torchvision:convnext_tiny", tensors)
    assert [m for m in network.module.modules() if isinstance(m, nn.Linear)][-1].out_features == 5


def test_a_tag_that_timm_does_not_have() -> None:
    with pytest.raises(UserError, match=r"Invalid pretrained tag \(nonsense\).*list_pretrained"):
        architectures.build("timm:test_vit.nonsense", None)


def test_torchvision_with_its_normalisation(tmp_path: Path) -> None:
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=4).eval()
    loaded = subject.load(saved(model, tmp_path), model="torchvision:shufflenet_v2_x0_5")
    inputs = normalised(IMAGES, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        torch.testing.assert_close(loaded(IMAGES), model(inputs))


def test_open_clip_by_name_has_the_zero_shot_head(tmp_path: Path) -> None:
    """The state_dict of one of open_clip's own models, its tokenizer and its builder of zero-shot heads."""
    model = open_clip.create_model("ViT-S-32-alt").eval()
    labels = Labels(("cat", "dog"), ("a photo of a {}.", "a drawing of a {}."))
    loaded = subject.load(saved(model, tmp_path), model="open_clip:ViT-S-32-alt", labels=labels)
    tokenizer = open_clip.get_tokenizer("ViT-S-32-alt")
    templates = [lambda name, t=t: t.format(name) for t in labels.templates]
    images = F.interpolate(IMAGES, size=(224, 224))
    inputs = normalised(images, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    with torch.no_grad():
        head = open_clip.build_zero_shot_classifier(model, tokenizer, list(labels.classes), templates)
        expected = model.logit_scale.exp() * model.encode_image(inputs, normalize=True) @ head
        torch.testing.assert_close(loaded(images), expected, rtol=1e-4, atol=1e-4)
    assert loaded.classes == labels.classes


def test_a_clip_without_names_is_refused(tmp_path: Path) -> None:
    read = checkpoint.read(checkpoint_path("zero-shot"))
    bare = {
        name: value for name, value in read.metadata.items() if name not in ("classes", "digest", "versions")
    }
    written = checkpoint.write(tmp_path / "x.pt", read.tensors, bare)
    with pytest.raises(UserError, match="needs class names"):
        subject.load(written)


def test_a_zero_shot_head_counts_by_what_it_is_computed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last bits depend on the machine and its threads: a study must go on elsewhere."""
    read = checkpoint.read(checkpoint_path("zero-shot"))
    digest, head = geomlab.load(read.path).digest, clip.kept_head
    with monkeypatch.context() as patch:
        patch.setattr(clip, "kept_head", lambda *given: head(*given) * (1 + 1e-7))
        assert geomlab.load(read.path).digest == digest
    told = {name: value for name, value in read.metadata.items() if name not in ("digest", "versions")}
    text = {**read.tensors, "token_embedding.weight": read.tensors["token_embedding.weight"] + 1e-3}
    sight = {**read.tensors, "visual.proj": read.tensors["visual.proj"] + 1e-3}
    others = [
        (text, told),
        (sight, told),
        (read.tensors, {**told, "classes": told["classes"][::-1]}),
        (read.tensors, {**told, "templates": ["a sketch of the digit {}"]}),
    ]
    digests = [subject.load(checkpoint.write(tmp_path / "x.pt", *other)).digest for other in others]
    assert len({digest, *digests}) == 5


def test_the_caller_s_module_is_copied_and_left_alone() -> None:
    module = models.convolution().double().train()
    state, flags = params.digest(module.state_dict()), [child.training for child in module.modules()]
    made = from_network(Network(module, Preprocessing()))
    made(models.batches().images)
    made.activations(models.batches().images, made.layers())
    assert params.digest(module.state_dict()) == state
    assert [child.training for child in module.modules()] == flags
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


class Pruned(nn.Module):
    """Its first parameter are the rows that are left, its last a bias that was taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.arange(3).flip(0), requires_grad=False)
        self.linear = nn.Linear(72, 3)
        self.bias = nn.Parameter(torch.zeros(0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))[:, self.rows] + self.bias.sum()


def test_parameters_that_cannot_be_moved_are_held_like_buffers() -> None:
    made = from_network(Network(Pruned().double(), Preprocessing()))
    images = models.batches().images
    assert list(made.weights) == ["linear.weight", "linear.bias"]
    assert made.dtype == torch.float64
    moved = made.to("cpu", torch.float32)
    for one in (made, moved):
        assert params.digest({**one.weights, **one.buffers}) == params.digest(one.module.state_dict())
        torch.testing.assert_close(one(images.to(one.dtype)), one.module(images.to(one.dtype)))


def scripted() -> nn.Module:
    return nn.Sequential(nn.Flatten(), torch.jit.script(nn.Linear(72, 3)))


def of_old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), torch.nn.utils.weight_norm(nn.Linear(72, 3)))


@pytest.mark.filterwarnings(
    "ignore:.*is deprecated:FutureWarning", "ignore:.*is deprecated:DeprecationWarning"
)
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (scripted, r"holds a torch\.jit\.ScriptModule \(1\), into which .* build it without torch\.jit"),
        (
            of_old_weight_norm,
            r"cannot be copied: RuntimeError.*; .* use torch\.nn\.utils\.parametrizations\.weight",
        ),
        (nn.Flatten, "no parameter of floating-point numbers"),
    ],
)
def test_networks_that_cannot_be_a_subject(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_network(Network(build(), Preprocessing()))


def test_another_point_is_another_subject() -> None:
    one = models.subject(models.softmax_regression())
    other = one.at({"1.bias": one.weights["1.bias"] + 1})
    assert other.digest != one.digest
    images = models.batches().images
    torch.testing.assert_close(other(images), one(images) + 1)
    torch.testing.assert_close(one(images, {"1.bias": one.weights["1.bias"] + 1}), one(images) + 1)
    with pytest.raises(KeyError, match="not parameters"):
        one.at({"nothing": torch.ones(1)})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_moved_network_holds_its_weights_once(dtype: torch.dtype) -> None:
    one = models.subject(models.convolution())
    elsewhere = one.at({"0.weight": one.weights["0.weight"] + 1})
    images = models.batches().images
    for network in (one, elsewhere):
        before = network.digest
        moved = network.to("cpu", dtype)
        held = {**moved.weights, **moved.buffers}
        inside = dict((*moved.module.named_parameters(), *moved.module.named_buffers()))
        assert {n: t.data_ptr() for n, t in inside.items()} == {n: t.data_ptr() for n, t in held.items()}
        assert list(moved.weights) == list(network.weights)
        assert moved.dtype == dtype
        torch.testing.assert_close(moved(images.to(dtype)), network(images).to(dtype))
        assert moved.to("cpu", torch.float64).module is not network.module
        assert (moved.digest == before) == (dtype == torch.float64)
        assert network.digest == params.digest({**network.weights, **network.buffers}) + before[64:]
    assert not torch.equal(one.module.get_parameter("0.weight"), elsewhere.weights["0.weight"])


class OwnFeatures(nn.Module):
    """A module that says itself what its features are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(72, 5)
        self.head = nn.Linear(5, 3)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images.flatten(1)) * 10

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images.flatten(1)))


def test_a_module_s_own_features_count() -> None:
    made, images = models.subject(OwnFeatures()), models.batches().images
    torch.testing.assert_close(made.features(images), made.module.features(images))
    zero = made.at({"body.weight": torch.zeros(5, 72).double(), "body.bias": torch.ones(5).double()})
    assert float(zero.features(images).min()) == 10


def test_hooks_are_removed_even_when_the_network_fails() -> None:
    made = models.subject(models.convolution())
    with pytest.raises(RuntimeError):
        made.activations(torch.rand(1, 7, 6, 6).double(), made.layers())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in made.module.modules())


def test_layers_are_the_blocks_or_what_was_asked_for() -> None:
    loaded = geomlab.load(checkpoint_path("ft"))
    blocks = [f"visual.transformer.resblocks.{i}" for i in range(4)]
    assert loaded.layers() == blocks
    assert loaded.layers(r"resblocks\.[01]\.mlp$") == [f"{block}.mlp" for block in blocks[:2]]
    images = torch.rand(2, 3, 16, 16)
    seen = loaded.activations(images, blocks)
    assert list(seen) == [*blocks, FEATURES]
    torch.testing.assert_close(seen[FEATURES].norm(dim=1), torch.ones(2))
    for pattern, message in (("nothing", "selects no layer"), ("(", "not a regular expression")):
        with pytest.raises(UserError, match=message):
            loaded.layers(pattern)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_weights_that_are_no_real_numbers_are_refused(dtype: torch.dtype) -> None:
    """torch would cut off what does not fit, and measure another network."""
    state = models.softmax_regression().state_dict()
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(UserError, match=rf"1\.bias is {kind}, expected floating-point numbers"):
        architectures.load(models.softmax_regression(), {**state, "1.bias": state["1.bias"].to(dtype)}, "x")


def test_wrong_weights_name_five_keys_at_most() -> None:
    with pytest.raises(UserError, match=r"missing 1\.weight; missing 1\.bias; unexpected other") as caught:
        architectures.load(models.softmax_regression(), {"other": torch.ones(1)}, "x")
    assert "more" not in str(caught.value)
    with pytest.raises(UserError, match=r"\(2,\), expected \(3,\)"):
        architectures.load(
            models.softmax_regression(), {"1.weight": torch.ones(3, 72), "1.bias": torch.ones(2)}, "x"
        )
