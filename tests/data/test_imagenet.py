import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geomlab.data.condition import parse_conditions
from geomlab.data.imagenet import wnids
from geomlab.data.source import balanced_subset
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from tests import cli

# Position, wnid and words of a class: from the list of ILSVRC-2012, not from the libraries that are tested here.
KNOWN = [
    (0, "n01440764", "tench"),
    (134, "n02012849", "crane"),
    (217, "n02102040", "English Springer"),
    (491, "n03000684", "chain"),
    (517, "n03126707", "crane"),
    (701, "n03888257", "parachute"),
    (999, "n15075141", "toilet"),
]
SOME = ("n01440764", "n02102040", "n03888257")  # three of Imagenette's


def pictures(root: Path, *names: str, each: int = 2) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for image in range(each):
            colour = (number * 20, image * 10, 255)
            Image.new("RGB", (12, 8), colour).save(root / name / f"ILSVRC2012_val_{image:08}.JPEG")
    return root


def test_wnids_and_names_are_in_one_order(tmp_path: Path) -> None:
    source = open_source(f"imagenet:{pictures(tmp_path, *SOME)}")
    assert source.classes is not None
    assert len(source.classes) == len(set(wnids())) == 1000
    assert list(wnids()) == sorted(wnids())
    for number, wnid, word in KNOWN:
        assert wnids()[number] == wnid
        assert word in source.classes[number]


def test_names_agree_with_those_of_wordnet(tmp_path: Path) -> None:
    """CLIP's names are rewritten, yet most share a word with WordNet's; with lists one class apart almost none do."""
    from timm.data import ImageNetInfo

    names = open_source(f"imagenet:{pictures(tmp_path, *SOME)}").classes or ()
    theirs = [
        set(text.lower().replace(",", " ").split())
        for text in ImageNetInfo("imagenet-1k").label_descriptions()
    ]
    ours = [set(name.lower().replace("(", " ").replace(")", " ").split()) for name in names]
    shared = sum(bool(a & b) for a, b in zip(ours, theirs, strict=True))
    assert shared > 900 > 300 > sum(bool(a & b) for a, b in zip(ours, theirs[1:], strict=False))


@pytest.mark.parametrize("below", ["val", "."])
def test_labels_of_some_classes_are_those_of_all(below: str, tmp_path: Path) -> None:
    pictures(tmp_path / below, *reversed(SOME))
    source = open_source(f"imagenet:{tmp_path}")
    index = source.index("id")
    assert index.labels.tolist() == [0, 0, 217, 217, 701, 701]
    assert index.ids[2] == "n02102040/ILSVRC2012_val_00000000.JPEG"
    assert source.images("id", np.array([0, 5]), 6).shape == (2, 3, 6, 6)
    assert [c.name for c in parse_conditions(source.conditions, source, n=3, seed=0, batch_size=3)] == [
        "clean", "pgd", "corruption:gaussian_noise",
    ]  # fmt: skip


def test_validation_images_are_read_where_training_images_lie_beside_them(tmp_path: Path) -> None:
    pictures(tmp_path / "train", *SOME, each=5)
    pictures(tmp_path / "val", *SOME, each=1)
    assert open_source(f"imagenet:{tmp_path}").index("id").labels.tolist() == [0, 217, 701]


def test_a_subset_is_balanced(tmp_path: Path) -> None:
    labels = open_source(f"imagenet:{pictures(tmp_path, *SOME, each=4)}").index("id").labels
    assert np.bincount(labels[balanced_subset(labels, 6, 0)])[[0, 217, 701]].tolist() == [2, 2, 2]


def test_the_zero_shot_prompts_are_those_of_clip(tmp_path: Path) -> None:
    labels = open_source(f"imagenet:{pictures(tmp_path, *SOME)}").labels
    assert labels is not None
    assert len(labels.templates) == len(set(labels.templates)) == 80
    assert all(template.count("{}") == 1 for template in labels.templates)
    assert labels.templates[0] == "a bad photo of a {}."


def test_a_network_of_1000_classes_is_measured(tmp_path: Path) -> None:
    import timm
    import torch

    with torch.random.fork_rng():
        torch.save(timm.create_model("test_resnet", num_classes=1000).state_dict(), tmp_path / "net.pt")
    spec = f"imagenet:{pictures(tmp_path / 'images', *SOME, each=4)}"
    more = ("--model", "timm:test_resnet", "--data", spec, "--measure", "accuracy", "--out", tmp_path / "out")
    result = cli.run("analyze", tmp_path / "net.pt", *more, *cli.QUICK)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("below", ["val", "."])
def test_images_that_are_not_sorted_into_classes(below: str, tmp_path: Path) -> None:
    folder = tmp_path / "two words" / below
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (4, 4)).save(folder / f"ILSVRC2012_val_{number:08}.JPEG")
    with pytest.raises(UserError, match=r"3 images of .* are in no class folder; sort them into one a wnid"):
        open_source(f"imagenet:{tmp_path / 'two words'}")


def test_a_folder_that_is_no_class(tmp_path: Path) -> None:
    pictures(tmp_path, *SOME, "n00000001", "cat")
    with pytest.raises(UserError, match=r"cat, n00000001 in .* is no class of ILSVRC-2012; .* folder:ROOT"):
        open_source(f"imagenet:{tmp_path}")


def test_a_root_of_training_images_alone(tmp_path: Path) -> None:
    pictures(tmp_path / "train", *SOME)
    with pytest.raises(UserError, match=r"train in .* is no class.*a folder val of those"):
        open_source(f"imagenet:{tmp_path}")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        open_source("imagenet:")
    with pytest.raises(UserError, match="holds no folders; expected one a class, n01440764"):
        open_source(f"imagenet:{tmp_path}")
    (tmp_path / SOME[0]).mkdir()
    with pytest.raises(UserError, match="no image files"):
        open_source(f"imagenet:{tmp_path}").index("id")


def test_a_class_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(f"imagenet:{pictures(tmp_path, *SOME)}")
    closed = tmp_path / SOME[1]
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("geomlab.data.places.os.scandir", refuse)
    with pytest.raises(UserError, match=r"n02102040: cannot be read \(Permission denied\)"):
        source.index("id")


def test_training_images_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    pictures(tmp_path / "train", *SOME, each=3)
    pictures(tmp_path / "val", *SOME)
    assert len(open_source(f"imagenet:{tmp_path},split=train").index("id").labels) == 9
    assert len(open_source(f"imagenet:{tmp_path},split=val").index("id").labels) == 6
    for split in ("train", "test"):
        with pytest.raises(
            UserError, match=f"no folder .*{split}; split is val or train, each a folder of ROOT"
        ):
            open_source(f"imagenet:{tmp_path / 'val'},split={split}")
