import logging
from pathlib import Path

import open_clip
import pytest
import torch

from geomlab import checkpoint, subject
from geomlab.architectures import Labels
from geomlab.checkpoint import Checkpoint
from geomlab.data import embedded
from geomlab.errors import UserError
from grace import loop
from grace import model as models
from grace.recipe import compose

LABELS = Labels(("cat", "dog"))


@pytest.mark.parametrize("name", embedded.NAMES)
def test_training_and_analysis_see_the_same_network(name: str) -> None:
    found = checkpoint.read(embedded.checkpoint_path(name))
    model = models.from_checkpoint(found, None).eval()
    model.add_zero_shot_head()
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), subject.load(found)(images))
    assert set(found.tensors) <= set(model.tensors())


def test_logits_need_a_head() -> None:
    model = models.from_checkpoint(checkpoint.read(embedded.checkpoint_path("zero-shot")), None)
    with pytest.raises(RuntimeError, match="add_zero_shot_head"):
        model.logits(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))


def test_a_model_of_open_clips_list_round_trips(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        first = models.from_open_clip("open_clip:ViT-S-32-alt", LABELS, seed=1)
        again = models.from_open_clip("open_clip:ViT-S-32-alt", LABELS, seed=1)
        written = Checkpoint(first.tensors(), {
            "architecture": first.architecture,
            "preprocessing": {"size": 224, "mean": first.preprocessing.mean, "std": first.preprocessing.std},
        })  # fmt: skip
        read = models.from_checkpoint(written, LABELS)
    assert not caplog.records
    assert first.preprocessing == read.preprocessing
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in first.tensors().items())
    assert all(torch.equal(tensor, read.tensors()[name]) for name, tensor in first.tensors().items())


def test_a_tag_that_means_quickgelu_is_recorded() -> None:
    assert models.built_name("ViT-B-32", "openai") == "ViT-B-32-quickgelu"
    assert models.built_name("ViT-B-32", "laion2b_s34b_b79k") == "ViT-B-32"
    assert models.built_name("ViT-B-32-quickgelu", "openai") == "ViT-B-32-quickgelu"
    assert models.built_name("ViT-B-32", None) == "ViT-B-32"


def test_weights_that_cannot_be_had_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise OSError("no network\nand more")

    monkeypatch.setattr("open_clip.create_model", offline)
    with pytest.raises(UserError, match=r"cannot get its weights: no network$"):
        models.from_open_clip("open_clip:ViT-B-32-quickgelu,pretrained=openai", LABELS, seed=0)


def test_what_is_no_clip_is_refused() -> None:
    tensors = {"weight": torch.zeros(2, 2)}
    with pytest.raises(UserError, match="does not say its network"):
        models.from_checkpoint(Checkpoint(tensors), LABELS)
    resnet = {"architecture": {"spec": "timm:resnet18"}}
    with pytest.raises(UserError, match="expected a CLIP and class names, got timm:resnet18"):
        models.from_checkpoint(Checkpoint(tensors, resnet), LABELS)
    with pytest.raises(UserError, match="a CLIP needs class names"):
        models.from_open_clip("open_clip:ViT-S-32-alt", None, seed=0)


@pytest.mark.parametrize("layers", ["[1, 1]", "[1, 1, 1, 1]"])
def test_an_architecture_that_open_clip_cannot_build_or_run_is_refused(layers: str, tmp_path: Path) -> None:
    """Two stages make open_clip's ResNet index past its end; four make one too deep for 16 pixels."""
    recipe = compose("clip", settings=[f"architecture.vision_cfg.layers={layers}"])
    with pytest.raises(UserError, match=r"does not describe a CLIP|cannot take 1 image of shape"):
        loop.train(recipe, tmp_path)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    """And not taken for a learning rate that is too high, many steps later."""
    read = checkpoint.read(embedded.checkpoint_path("ft"))
    told = {key: value for key, value in read.metadata.items() if key not in ("digest", "versions")}
    for name in ("visual.proj", "head.weight"):
        spoiled = {**read.tensors, name: read.tensors[name] * torch.nan}
        written = checkpoint.write(tmp_path / "nan.pt", spoiled, told)
        with pytest.raises(
            UserError, match=rf"nan\.pt: {name} holds {read.tensors[name].numel()} values that are NaN"
        ):
            loop.train(compose("ft"), tmp_path / "run", initial=str(written.path))
    assert not (tmp_path / "run").exists()


def test_a_head_of_other_classes_than_named_is_refused() -> None:
    read = checkpoint.read(embedded.checkpoint_path("ft"))
    tensors = {**read.tensors, "head.weight": read.tensors["head.weight"][:9]}
    with pytest.raises(UserError, match="a head of 9 classes and the names of 10"):
        models.from_checkpoint(Checkpoint(tensors, read.metadata), None)


def test_pixels_are_normalised_as_geomlab_does_where_a_checkpoint_does_not_say() -> None:
    """Else a network would be trained on other inputs than it is judged on."""
    with torch.random.fork_rng():
        network = open_clip.create_model("ViT-S-32-alt")
    about = {"architecture": {"spec": "open_clip:ViT-S-32-alt"}, "classes": ["a", "b"]}
    read = Checkpoint(network.state_dict(), about)
    assert models.from_checkpoint(read, None).preprocessing == subject.load(read).preprocessing
    assert models.from_checkpoint(read, None).preprocessing.mean == open_clip.OPENAI_DATASET_MEAN
