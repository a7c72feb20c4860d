"""The sets beside ImageNet: found by their folders' names, labelled as ImageNet, told apart among their own classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.data.condition import parse_conditions
from geomlab.data.imagenet import wnids
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.risk import gradient, sample_losses
from geomlab.subject import Subject
from tests.data import hostile

SOME = (0, 217, 491, 701)
NAMES = tuple(wnids()[number] for number in SOME)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    hostile.classes(tmp_path / "imagenet" / "val", *NAMES, each=3)
    hostile.classes(tmp_path / "imagenetv2-matched-frequency-format-val", *map(str, SOME), each=2)
    hostile.classes(tmp_path / "ImageNet-Sketch", *NAMES, each=2)
    hostile.classes(tmp_path / "imagenet-r", *NAMES[1:], each=2)
    hostile.classes(tmp_path / "imagenet" / "imagenet-a", *NAMES[:2], each=2)
    hostile.classes(tmp_path / "imagenet-a-plus", *NAMES[:1], each=2)
    objectnet(tmp_path / "objectnet-1.0")
    return tmp_path / "imagenet"


def objectnet(root: Path, **changed: object) -> Path:
    """Three kinds of object: one is two of ImageNet's classes, one is none."""
    for folder in ("chair_or_crane", "tench_toy", "unknown"):
        for number in range(2):
            path = root / "images" / folder / f"{number}.png"
            hostile.picture(path, (20, 16), (255, 0, 0))  # the frame
            with Image.open(path) as image:
                image.paste((0, 0, 255), (2, 2, 18, 14))
                image.save(path)
    words = [f"word {number}" for number in range(1000)]
    content: dict[str, object] = {
        "folder_to_objectnet_label.json": {
            "chair_or_crane": "Chair/crane", "tench_toy": "Tench", "unknown": "Nothing"
        },
        "objectnet_to_imagenet_1k.json": {"Chair/crane": "word 7; word 8", "Tench": "word 9"},
        "pytorch_to_imagenet_2012_id.json": {"517": 7, "423": 8, "0": 9},
    }  # fmt: skip
    (root / "mappings").mkdir(exist_ok=True)
    for name, value in {**content, **changed}.items():
        (root / "mappings" / name).write_text(json.dumps(value))
    (root / "mappings" / "imagenet_to_label_2012_v2").write_text("\n".join(words))
    return root


def test_sets_are_found_beside_and_in_the_root(root: Path) -> None:
    source = open_source(f"imagenet:{root}")
    assert source.domains == ("id", "v2", "sketch", "r", "a", "a-plus", "objectnet")
    assert source.conditions == ("clean", "pgd", "domain:v2", "domain:sketch", "domain:r")
    labels = {domain: sorted(set(source.index(domain).labels.tolist())) for domain in source.domains}
    assert labels == {
        "id": [0, 217, 491, 701], "v2": [0, 217, 491, 701], "sketch": [0, 217, 491, 701],
        "r": [217, 491, 701], "a": [0, 217], "a-plus": [0], "objectnet": [0, 423],
    }  # fmt: skip
    assert source.groups == {
        "r": ((217,), (491,), (701,)), "a": ((0,), (217,)), "a-plus": ((0,),), "objectnet": ((0,), (423, 517))
    }  # fmt: skip
    ids = [set(source.index(domain).ids) for domain in source.domains]
    assert len(set.union(*ids)) == sum(map(len, ids))
    (root / "val").rename(root.parent / "plain")
    assert open_source(f"imagenet:{root.parent / 'plain'}").domains == (
        "id", "v2", "sketch", "r", "a-plus", "objectnet",
    )  # fmt: skip


def test_sets_may_be_archives(root: Path) -> None:
    folder = root.parent / "imagenet-r"
    files = {f"imagenet-r/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.png")}
    before = open_source(f"imagenet:{root}").images("r", np.arange(6), 8)
    hostile.tar(root.parent / "imagenet-r.tar", files)
    folder.rename(root.parent / "elsewhere")
    source = open_source(f"imagenet:{root}")
    assert "r" in source.domains
    assert torch.equal(source.images("r", np.arange(6), 8), before)


def test_the_frame_of_objectnet_is_cut_off(root: Path) -> None:
    images = open_source(f"imagenet:{root}").images("objectnet", np.arange(4), None)
    assert images.shape == (4, 3, 12, 16)
    assert images[:, 0].max() == 0
    hostile.picture(root.parent / "objectnet-1.0" / "images" / "tench_toy" / "0.png", (4, 30))
    with pytest.raises(UserError, match=r"tench_toy/0\.png: 4×30 pixels, all of them border"):
        open_source(f"imagenet:{root}").images("objectnet", np.array([2]), 8)


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.mean((2, 3)))
        return logits


@pytest.fixture
def subject() -> Subject:
    from geomlab.architectures import Network, Preprocessing
    from geomlab.subject import from_network

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return from_network(Network(Linear().double(), Preprocessing(8)))


def test_images_are_told_apart_among_the_classes_of_their_set(root: Path, subject: Subject) -> None:
    """Against a head of those classes alone; of ObjectNet's alike classes the larger logit counts."""
    source = open_source(f"imagenet:{root}")
    for domain in ("r", "objectnet", "v2"):
        (condition,) = parse_conditions([f"domain:{domain}"], source, n=4, seed=0, batch_size=3)
        batches = condition.realise(subject)
        groups = batches.groups or tuple((i,) for i in range(1000))
        logits = subject(batches.images)
        few = torch.stack([logits[:, list(group)].max(1).values for group in groups], 1)
        label = torch.tensor([[group[0] for group in groups].index(int(one)) for one in batches.labels])
        found = sample_losses(subject, batches)
        assert torch.allclose(found.loss, F.cross_entropy(few, label, reduction="none"), atol=1e-12)
        assert found.correct.tolist() == (few.argmax(1) == label).tolist()
        weight = subject.weights["head.weight"].clone().requires_grad_()
        features = batches.images.mean((2, 3))
        logits = features @ weight.T + subject.weights["head.bias"]
        few = torch.stack([logits[:, list(group)].max(1).values for group in groups], 1)
        (expected,) = torch.autograd.grad(F.cross_entropy(few, label), weight)
        assert torch.allclose(
            gradient(subject, batches, ["head.weight"])["head.weight"], expected, atol=1e-12
        )
        assert bool(batches.groups) == any("told apart among those" in text for text in batches.warnings)


def test_curvature_is_of_the_classes_of_the_set(root: Path, subject: Subject) -> None:
    """trace of the Hessian of softmax regression: mean of (1 − Σp²)(‖x‖² + 1), over the set's classes alone."""
    (condition,) = parse_conditions(["domain:r"], open_source(f"imagenet:{root}"), n=6, seed=0, batch_size=4)
    batches = condition.realise(subject)
    p = subject(batches.images)[:, list(SOME[1:])].softmax(1)
    expected = ((1 - p.square().sum(1)) * (batches.images.mean((2, 3)).square().sum(1) + 1)).mean()
    rows = [row for label in SOME[1:] for row in (*range(3 * label, 3 * label + 3), 3000 + label)]
    columns = torch.eye(4000, dtype=torch.float64)[:, rows]
    for kind in (Hessian, GaussNewton):
        products = kind(subject, batches, list(subject.weights)).matmat(columns)
        assert float(products[rows].trace()) == pytest.approx(float(expected), rel=1e-10)


def test_another_choice_of_classes_is_another_input(root: Path, subject: Subject) -> None:
    from dataclasses import replace

    (condition,) = parse_conditions(["domain:r"], open_source(f"imagenet:{root}"), n=4, seed=0, batch_size=4)
    batches = condition.realise(subject)
    assert replace(batches, groups=None).digest != batches.digest
    assert condition.realise(subject).digest == batches.digest


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("imagenet-r", "cat is no class of it; expected n01440764 and on"),
        ("imagenetv2", "1000 is no class of it; expected 0 to 999"),
    ],
)
def test_a_set_of_other_classes_is_refused(folder: str, message: str, tmp_path: Path) -> None:
    hostile.classes(tmp_path / "imagenet", *NAMES, each=1)
    hostile.classes(tmp_path / folder, message.split()[0], each=1)
    with pytest.raises(UserError, match=message):
        open_source(f"imagenet:{tmp_path / 'imagenet'}")


@pytest.mark.parametrize(
    "changed",
    [
        {"objectnet_to_imagenet_1k.json": {"Tench": "no word"}},
        {"objectnet_to_imagenet_1k.json": {"Tench": "word 9", "Nothing": "word 9"}},
        {"objectnet_to_imagenet_1k.json": {}},
        {"folder_to_objectnet_label.json": ["Tench"]},
        {"pytorch_to_imagenet_2012_id.json": {"x": "y"}},
    ],
)
def test_mappings_that_are_not_objectnets(changed: dict[str, object], tmp_path: Path) -> None:
    hostile.classes(tmp_path / "imagenet", *NAMES, each=1)
    objectnet(tmp_path / "objectnet-1.0", **changed)
    with pytest.raises(UserError, match="mappings: not ObjectNet's own mappings"):
        open_source(f"imagenet:{tmp_path / 'imagenet'}")


def test_objectnet_without_its_mappings(tmp_path: Path) -> None:
    hostile.classes(tmp_path / "imagenet", *NAMES, each=1)
    hostile.classes(tmp_path / "objectnet-1.0", "chair")
    with pytest.raises(UserError, match="no folders images and mappings; expected both"):
        open_source(f"imagenet:{tmp_path / 'imagenet'}")
