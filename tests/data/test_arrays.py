"""What a factory may return: pixels and labels of every usual type, one rule for each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets.vision import StandardTransform

from geomlab.data.arrays import Arrays
from geomlab.data.sources import open_source
from geomlab.errors import UserError

BYTES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
LABELS = [0, 1, 2, 1, 0]
UNIT = torch.from_numpy(BYTES).float() / 255
PILS = [Image.fromarray(image.transpose(1, 2, 0)) for image in BYTES]


def read(data: Any, size: int | None = None) -> tuple[torch.Tensor, list[int]]:
    source = Arrays("my:data", data)
    labels = source.index("id").labels
    return source.images("id", np.arange(len(labels)), size), labels.tolist()


def samples(images: Any, labels: Any = LABELS) -> list[tuple[Any, Any]]:
    return list(zip(images, labels, strict=True))


@pytest.mark.parametrize(
    "data",
    [
        (BYTES, LABELS),
        (torch.from_numpy(BYTES), LABELS),
        (UNIT, LABELS),
        (UNIT.double().numpy(), LABELS),
        samples(BYTES),
        samples(torch.from_numpy(BYTES)),
        samples(UNIT),
        samples(UNIT.numpy()),
        samples(BYTES.transpose(0, 2, 3, 1)),
        samples(UNIT.permute(0, 2, 3, 1).numpy()),
        samples(PILS),
        TensorDataset(torch.from_numpy(BYTES), torch.tensor(LABELS)),
    ],
    ids=["uint8 array", "uint8 tensor", "float tensor", "float array", "set of uint8 arrays", "set of uint8 tensors",
         "set of float tensors", "set of float arrays", "set of uint8 arrays, channels last",
         "set of float arrays, channels last", "set of PIL images", "TensorDataset"],
)  # fmt: skip
def test_bytes_are_scaled_and_all_else_is_taken_as_it_is(data: Any) -> None:
    images, labels = read(data)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, UNIT, rtol=0, atol=1e-7)
    assert labels == LABELS


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("form", [lambda x: (x, LABELS), samples])
def test_other_numbers_are_not_scaled_by_guess(form: Any, size: int | None) -> None:
    """Resizing must not clip them to [0, 1] either: that they are outside is what the condition refuses."""
    images, _ = read(form(torch.from_numpy(BYTES).int()), size)
    assert images.max() > 200


def test_images_of_many_sizes_are_cropped_as_files_are() -> None:
    pils = [Image.new("RGB", (20, 10), (255, 0, 51)), Image.new("L", (8, 30), 255)]
    images, _ = read(samples(pils, [0, 1]), 6)
    assert images.shape == (2, 3, 6, 6)
    assert images[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS), np.array(LABELS, dtype=np.uint8), torch.tensor(LABELS), tuple(LABELS),
        [torch.tensor(label) for label in LABELS], [np.int32(label) for label in LABELS],
    ],
)  # fmt: skip
def test_labels_of_every_type(labels: Any) -> None:
    assert read((UNIT, labels))[1] == LABELS
    assert read(samples(UNIT, labels))[1] == LABELS


@pytest.mark.parametrize(
    "labels", [["a"] * 5, [0.0, 1.0, 2.0, 1.0, 0.0], torch.rand(5), [None] * 5, [[0], [1]] * 2 + [[0]]]
)
def test_labels_that_are_no_whole_numbers(labels: Any) -> None:
    with pytest.raises(UserError, match="the labels are not whole numbers"):
        read((UNIT, labels))
    with pytest.raises(UserError, match="its labels cannot be read as whole numbers"):
        read(samples(UNIT, labels))


@pytest.mark.parametrize("item", [tuple, list])
@pytest.mark.parametrize("images", [UNIT[:2], BYTES[:2], PILS[:2], UNIT[:2, :, :2, :2], UNIT[:2].tolist()])
def test_two_samples_are_not_taken_for_images_and_labels(images: Any, item: Any) -> None:
    data = [item(sample) for sample in samples(images, [1, 0])]
    for both in (data, tuple(data)):
        assert read(both)[1] == [1, 0]
        assert read(both)[0].shape[:2] == (2, 3)


@pytest.mark.parametrize("images", [UNIT[:2], BYTES[:2], UNIT[:2].tolist(), [*UNIT[:2].tolist()]])
@pytest.mark.parametrize("labels", [[1, 0], (1, 0), np.array([1, 0]), torch.tensor([1, 0])])
def test_two_images_and_their_labels_are_not_taken_for_samples(images: Any, labels: Any) -> None:
    assert read([images, labels])[1] == [1, 0]
    assert read((images, labels))[0].shape == (2, 3, 4, 6)


def test_two_samples_with_names_are_refused_as_samples() -> None:
    with pytest.raises(UserError, match="cannot be read as whole numbers: TypeError: 'str'"):
        read([(UNIT[0], "cat"), (UNIT[1], "dog")])


class Keeping(Dataset[Any]):
    """A data set that keeps a list of labels beside what its items give."""

    def __init__(self, given: list[int], **attributes: Any) -> None:
        self.given, self.decoded = given, 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        self.decoded += 1
        return torch.zeros(3, 2, 2), self.given[row]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """40 files in two folders; what is in them does not matter."""
    for row in range(40):
        path = tmp_path / str(row % 2) / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def picture(_: str) -> Image.Image:
    return PILS[0]


def test_the_list_of_labels_that_torchvision_keeps_spares_the_images(files: Path) -> None:
    read: list[str] = []
    data = torchvision.datasets.ImageFolder(files, loader=lambda path: read.append(path) or PILS[0])
    assert Arrays("my:data", data).index("id").labels.tolist() == [0] * 20 + [1] * 20
    assert 0 < len(read) < 10


def test_a_list_of_labels_of_the_user_s_own_class_is_not_trusted() -> None:
    given = [row % 2 for row in range(40)]
    kept = [1 - label if row in (7, 13, 29) else label for row, label in enumerate(given)]
    data = Keeping(given, targets=kept)
    assert Arrays("my:data", data).index("id").labels.tolist() == given
    assert data.decoded == 40


@pytest.mark.parametrize("how", ["target_transform", "transforms", "StandardTransform"])
def test_a_transform_of_the_labels_counts(how: str, files: Path) -> None:
    """Its items are then read: here one of them differs from the list, where no probe looks."""
    data = torchvision.datasets.ImageFolder(files, loader=picture)
    if how == "target_transform":
        data.target_transform = int
    if how == "transforms":
        data.transforms = lambda image, label: (image, label)
    if how == "StandardTransform":
        data.transforms = StandardTransform(None, int)
    data.samples[3] = (data.samples[3][0], 1)
    assert Arrays("my:data", data).index("id").labels.tolist()[:5] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "attributes",
    [
        {"targets": [1, 1, 1]},
        {"targets": [2, 1]},
        {"labels": ["cat", "dog"]},
        {"labels": ["cat", "dog", "cat"]},
        {"targets": [2, 0, 1], "target_transform": abs},
        {"targets": None},
    ],
)
def test_what_the_items_give_counts(attributes: dict[str, Any]) -> None:
    assert Arrays("my:data", Keeping([2, 0, 1], **attributes)).index("id").labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_images_of_more_than_eight_bits_are_refused(mode: str) -> None:
    with pytest.raises(
        UserError, match=rf"'my:data': .* 'id' holds an image of mode {mode}, expected 8 bits"
    ):
        read(samples([*PILS[:4], Image.new(mode, (6, 4))]))


def test_names_of_domains_may_hold_commas() -> None:
    from geomlab.data.condition import parse_conditions

    source = Arrays("my:data", {"a": (UNIT, LABELS), "b, c=d": (UNIT, LABELS)})
    assert parse_conditions(source.conditions, source, n=4, seed=0, batch_size=4)[-1].name == "domain:b, c=d"


# torchvision's sets, none of which is downloaded


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "torchvision:CIFAR10,root={}",
            r"cannot open CIFAR10 under .*; to fetch it, add download=yes to the SPEC once",
        ),
        (
            "torchvision:SEMEION,root={}",
            r"cannot open SEMEION under .*; to fetch it, add download=yes to the SPEC once",
        ),
        ("torchvision:OxfordIIITPet,root={},split=moon", r"cannot open OxfordIIITPet .*Unknown value 'moon'"),
        (
            "torchvision:CocoDetection,root={}",
            r"missing 1 required .*'annFile'.*; open it in a MODULE:FACTORY",
        ),
        (
            "torchvision:CIFAR10,root={},split=val",
            r"unexpected keyword argument 'split'.*; open it in a MODULE",
        ),
        ("torchvision:ImageFolder,root={}", r"cannot open ImageFolder .*; check root"),
        ("torchvision:FakeData,root={}", "labels cannot be read as whole numbers: TypeError"),
        ("torchvision:VisionDataset,root={}", "labels cannot be read as whole numbers: NotImplementedError"),
        ("torchvision:CIFAR11,root={}", r"torchvision has no data set 'CIFAR11'; see torchvision.datasets"),
        ("torchvision:mnist,root={}", r"torchvision has no data set 'mnist'"),
        ("torchvision:root={}", r"torchvision has no data set ''"),
    ],
)
def test_sets_that_cannot_be_opened(
    spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("it was to be downloaded"))
    with pytest.raises(UserError, match=message) as caught:
        open_source(spec.format(tmp_path))
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_a_detection_set_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("1\n2\n")
    for name in "12":
        Image.new("RGB", (4, 4)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(UserError, match="labels cannot be read as whole numbers: TypeError: 'dict' object"):
        open_source(f"torchvision:VOCDetection,root={tmp_path}")


def cifar(root: Path) -> None:
    """A CIFAR-10 of 2 × 5 training and 3 test images, as its pickles lie on disk."""
    import pickle

    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, n in [*((f"data_batch_{i}", 2) for i in range(1, 6)), ("test_batch", 3)]:
        content = {"data": np.full((n, 3072), n, dtype=np.uint8), "labels": [7] * n}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))


@pytest.mark.parametrize(("split", "n"), [("", 10), (",split=train", 10), (",split=test", 3)])
def test_split_chooses_training_or_test_images(
    split: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    cifar(tmp_path)
    source = open_source(f"torchvision:CIFAR10,root={tmp_path}{split}")
    assert source.classes == tuple("abcdefghij")
    assert source.index("id").labels.tolist() == [7] * n
    assert source.images("id", np.array([0]), 8).shape == (1, 3, 8, 8)
