"""What the user names by MODULE:FACTORY may fail in any way: it is said in one line, before anything is written."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from geomlab import architectures, checkpoint, params, subject
from geomlab.checkpoint import Checkpoint
from tests import cli, misbehaving

pytestmark = pytest.mark.usefixtures("undrawn")


def analyze(weights: Path, out: Path, *, model: str = "tests.factories:model", data: str = "tests.factories:data",
            more: tuple[str, ...] = ()) -> cli.Result:  # fmt: skip
    return cli.run(
        "analyze", weights, "--out", out, "--model", model, "--data", data, "--budget", "quick", *more
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "raising",
            ("cannot take 2 images of shape (3, 4, 4) at once: KeyError: 'no such head' (misbehaving.py:",),
        ),
        ("pair", ("must give logits (N, classes) for any N, got tuple",)),
        ("scalar", ("must give logits (N, classes) for any N, got shape (2,) for 2 images",)),
        ("batch_statistics", ("the logits of an image differ by", "track_running_stats=True")),
        ("renormed", ("writes into its weight embedding.weight", "(of an nn.Embedding: max_norm=None)")),
        ("detached", ("no gradient in the images", "leave the attacks out")),
        (
            "old_weight_norm",
            ("net.pt: the network cannot be copied: RuntimeError", "parametrizations.weight_norm"),
        ),
        ("exiting", ("the factory failed: SystemExit: I give up",)),
        ("thousand_words", ("the factory failed: ValueError: word word",)),
    ],
)
def test_networks(name: str, words: tuple[str, ...], weights: Path, tmp_path: Path) -> None:
    result = analyze(weights, tmp_path / "out", model=f"tests.misbehaving:{name}")
    cli.refused(result, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "batch_size", "words"),
    [
        ("two_at_a_time", "5", ("cannot take 5 images of shape (3, 4, 4) at once: ValueError: only pairs",)),
        ("squeezed", "19", ("logits (N, classes) for any N, got shape (3,) for 1 images",)),
        ("flattened", "20", ("logits (N, classes) for any N, got shape (2, 30) for 20 images",)),
    ],
)
def test_networks_that_take_two_images_but_not_every_number(
    name: str, batch_size: str, words: tuple[str, ...], weights: Path, tmp_path: Path
) -> None:
    more = ("--samples", "20", "--condition", "clean", "--batch-size", batch_size)
    result = analyze(weights, tmp_path / "out", model=f"tests.misbehaving:{name}", more=more)
    cli.refused(result, *words)
    assert not (tmp_path / "out").exists()


def test_a_network_that_throws_dice_is_found_out(weights: Path, tmp_path: Path) -> None:
    more = ("--condition", "clean", "--measure", "accuracy,curvature")
    result = analyze(weights, tmp_path / "out", model="tests.misbehaving:dice", more=more)
    cli.refused(result, "two passes over the data", "must be deterministic")
    assert not (tmp_path / "out").exists()


UNGRADED = "the logits have no gradient in any of its weights; take no_grad, inference_mode or detach"
NO_CHECKPOINT = "leave torch.utils.checkpoint out of its forward pass in eval mode"


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("name", "measure", "words"),
    [
        ("ungraded", "curvature", (UNGRADED, "or leave curvature out of --measure")),
        ("ungraded", "features", (UNGRADED, "or leave features out of --measure")),
        ("inferring", "curvature", (UNGRADED,)),
        ("weightless", "curvature", (UNGRADED,)),
        ("reentrant", "curvature", ("UserWarning: None of the inputs", NO_CHECKPOINT)),
        (
            "checkpointed",
            "curvature",
            ("the gradient in its weights failed: RuntimeError: hooks on saved", NO_CHECKPOINT),
        ),
        (
            "checkpointed",
            "features",
            ("the gradient in its weights failed: RuntimeError: hooks on saved", NO_CHECKPOINT),
        ),
    ],
)
def test_a_network_without_a_gradient_does_not_pass_for_flat(
    name: str, measure: str, words: tuple[str, ...], weights: Path, tmp_path: Path
) -> None:
    more = ("--condition", "clean", "--measure", measure)
    result = analyze(weights, tmp_path / "out", model=f"tests.misbehaving:{name}", more=more)
    cli.refused(result, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ungraded", "checkpointed"])
def test_accuracy_needs_no_gradient(name: str, weights: Path, tmp_path: Path) -> None:
    more = ("--condition", "clean", "--measure", "accuracy")
    result = analyze(weights, tmp_path / "out", model=f"tests.misbehaving:{name}", more=more)
    assert result.returncode == 0, result.stderr


def test_parameters_that_cannot_be_moved_are_no_layers_of_curvature(weights: Path, tmp_path: Path) -> None:
    more = ("--condition", "clean", "--measure", "curvature")
    result = analyze(weights, tmp_path / "out", model="tests.misbehaving:pruned", more=more)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["curvature"]["clean"]
    assert list(found["layers"]) == ["layers.1", "layers.3"]


def test_a_network_without_a_linear_map_has_no_features(tmp_path: Path) -> None:
    torch.save(misbehaving.no_linear().state_dict(), tmp_path / "net.pt")
    result = analyze(tmp_path / "net.pt", tmp_path / "out", model="tests.misbehaving:no_linear")
    cli.refused(result, "no nn.Linear and no method features(x)")
    more = ("--measure", "accuracy", "--condition", "clean")
    result = analyze(tmp_path / "net.pt", tmp_path / "out", model="tests.misbehaving:no_linear", more=more)
    assert result.returncode == 0, result.stderr


def test_what_a_factory_prints_does_not_hide_the_error(weights: Path, tmp_path: Path) -> None:
    result = analyze(weights, tmp_path / "out", model="tests.misbehaving:chatty")
    assert result.returncode == 2
    first, last = result.stderr.splitlines()
    assert first == "be patient"
    assert last.startswith("geomlab: ")
    assert "OSError: disk on fire" in last


def test_a_module_that_fails_to_import(weights: Path, tmp_path: Path) -> None:
    result = analyze(weights, tmp_path / "out", model="tests.unimportable:model")
    cli.refused(result, "importing tests.unimportable failed: KeyError: 'weights' (unimportable.py:3)")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("words", ("images N,C,H,W in [0,1]", "no array")),
        ("ragged", ("images N,C,H,W in [0,1]", "no array")),
        ("named_array", ("the labels are not whole numbers", "'str' object")),
        ("tensor_only", ("got a Tensor",)),
        ("empty", ("0 samples; expected at least 2",)),
        ("single", ("1 samples; expected at least 2",)),
        ("many_sizes", ("cannot give its images", "of one size")),
        ("named_labels", ("labels cannot be read", "TypeError: 'str' object")),
        ("soft_labels", ("labels cannot be read", "TypeError: 'float' object")),
        ("no_pairs", ("labels cannot be read", "TypeError: 'int' object is not subscriptable")),
        ("grey", ("cannot take 2 images of shape (1, 4, 4)",)),
    ],
)
def test_data(name: str, words: tuple[str, ...], weights: Path, tmp_path: Path) -> None:
    cli.refused(analyze(weights, tmp_path / "out", data=f"tests.misbehaving:{name}"), *words)
    assert not (tmp_path / "out").exists()


def test_a_name_that_cannot_be_printed(weights: Path, tmp_path: Path) -> None:
    result = analyze(weights, tmp_path / "out", data="tests.misbehaving:unprintable")
    cli.refused(result, r"the name 'a\ud800b' cannot be printed; rename that class or domain")
    assert not (tmp_path / "out").exists()


def test_grey_images_are_not_spread_over_the_channels_of_a_network(tmp_path: Path) -> None:
    import timm

    with torch.random.fork_rng():
        torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "net.pt")
    result = analyze(
        tmp_path / "net.pt", tmp_path / "out", model="timm:test_resnet", data="tests.misbehaving:grey"
    )
    cli.refused(result, "takes images of 3 channels, got images of shape (1, 4, 4)")


def test_the_module_of_a_factory_is_copied(weights: Path) -> None:
    before = params.digest(misbehaving.KEPT.state_dict())
    read = Checkpoint(torch.load(weights, weights_only=True))
    loaded = subject.load(read, model="tests.misbehaving:kept")
    assert params.digest(loaded.module.state_dict()) == read.digest != before
    assert params.digest(misbehaving.KEPT.state_dict()) == before
    assert misbehaving.KEPT.training


def test_a_builder_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    architectures.build("tests.factories:model", None)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("device", ["meta", "abacus", "cpu:x"])
def test_devices_that_compute_nothing(device: str, weights: Path, tmp_path: Path) -> None:
    result = analyze(weights, tmp_path / "out", more=("--device", device))
    cli.refused(result, f"--device '{device}' cannot be used here; give auto, cpu")


def test_a_reference_that_takes_other_images(weights: Path, tmp_path: Path) -> None:
    """The checkpoint and its reference describe themselves here, so one of them cannot be given by --model."""
    from geomlab import checkpoint
    from geomlab.data.embedded import checkpoint_path

    read = checkpoint.read(checkpoint_path("zero-shot"))
    own = {key: value for key, value in read.metadata.items() if key not in ("digest", "versions")}
    config = own["architecture"]["config"]
    vision = {**config["vision_cfg"], "image_size": 32}
    tensors = dict(read.tensors)
    position = tensors["visual.positional_embedding"]
    tensors["visual.positional_embedding"] = torch.zeros(4 * (len(position) - 1) + 1, position.shape[1])
    changed = {
        **own,
        "architecture": {"spec": "open_clip:custom", "config": {**config, "vision_cfg": vision}},
    }
    checkpoint.write(tmp_path / "large.pt", tensors, changed)
    more = ("--reference", tmp_path / "large.pt", "--out", tmp_path / "out", *cli.QUICK)
    cli.refused(
        cli.run("analyze", checkpoint_path("ft"), *more), "large cannot take 2 images of shape (3, 16, 16)"
    )
    assert not (tmp_path / "out").exists()


def test_a_reference_that_says_its_own_network_may_be_another(weights: Path, tmp_path: Path) -> None:
    """--model is for the files that do not say."""
    name = "torchvision:shufflenet_v2_x0_5"
    labels = architectures.Labels(("a", "b", "c"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.get_model(name.partition(":")[2], num_classes=3)
    mean, std = [0.5] * 3, [0.2] * 3
    about = {
        "architecture": {"spec": name},
        "preprocessing": {"mean": mean, "std": std},
        "classes": labels.classes,
    }
    checkpoint.write(tmp_path / "other.pt", module.state_dict(), about)
    more = ("--condition", "clean", "--measure", "features", "--reference", str(tmp_path / "other.pt"))
    result = analyze(weights, tmp_path / "out", more=more)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["reference"]["architecture"] == name
    assert -1 < summary["features"]["reference"]["clean"]["cka"] < 1
    assert any("4 of 4 parameters have no twin in the reference" in text for text in summary["warnings"])


def test_the_classes_of_a_checkpoint_hold_whatever_the_model(weights: Path, tmp_path: Path) -> None:
    """The data's names would pass for the network's, and every label mean another class."""
    for name in ("a", "b", "c"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "data" / name / "0.png")
    state = torch.load(weights, weights_only=True)
    checkpoint.write(tmp_path / "net.pt", state, {"classes": ["c", "b", "a"]})
    result = analyze(tmp_path / "net.pt", tmp_path / "out", data=f"folder:{tmp_path / 'data'}")
    cli.refused(result, "its classes are not those of net", "0: c / a")


def test_layers_that_are_not_called_are_said(weights: Path, tmp_path: Path) -> None:
    torch.save(misbehaving.Attention().state_dict(), tmp_path / "net.pt")
    more = ("--condition", "clean", "--measure", "features", "--layers")
    result = analyze(
        tmp_path / "net.pt", tmp_path / "out", model="tests.misbehaving:Attention", more=(*more, "attn")
    )
    cli.refused(result, "attn.out_proj", "narrow --layers")
    result = analyze(
        tmp_path / "net.pt", tmp_path / "out", model="tests.misbehaving:Attention", more=(*more, "attn$")
    )
    assert result.returncode == 0, result.stderr
