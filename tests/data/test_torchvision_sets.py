"""The eight zero-shot sets of torchvision in the form they have on disk, tiny; what may be fetched, and when."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision

from geomlab.data.draw import draw
from geomlab.data.sources import open_recorded, open_source
from geomlab.data.torchvision_sets import TEMPLATES
from geomlab.errors import UserError
from tests.data import hostile


def _cifar(folder: Path, files: dict[str, int], meta: tuple[str, str, list[str]], key: str) -> None:
    folder.mkdir()
    for name, n in files.items():
        data = {"data": np.zeros((n, 3072), dtype=np.uint8), key: [number % 2 for number in range(n)]}
        (folder / name).write_bytes(pickle.dumps(data))
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: meta[2]}))


def cifar10(root: Path) -> None:
    files = {**{f"data_batch_{i}": 2 for i in range(1, 6)}, "test_batch": 4}
    _cifar(
        root / "cifar-10-batches-py", files, ("batches.meta", "label_names", ["airplane", "cat"]), "labels"
    )


def cifar100(root: Path) -> None:
    meta = ("meta", "fine_label_names", ["aquarium_fish", "apple"])
    _cifar(root / "cifar-100-python", {"train": 6, "test": 4}, meta, "fine_labels")


def caltech101(root: Path) -> None:
    for name in ("BACKGROUND_Google", "cougar_body", "lotus"):
        for number in (1, 2):
            hostile.picture(root / "caltech101" / "101_ObjectCategories" / name / f"image_{number:04}.jpg")
    (root / "caltech101" / "Annotations").mkdir()


def dtd(root: Path) -> None:
    names = [f"{name}/{name}_{number:04}.jpg" for name in ("banded", "woven") for number in (1, 2)]
    for name in names:
        hostile.picture(root / "dtd" / "dtd" / "images" / name)
    (root / "dtd" / "dtd" / "labels").mkdir()
    (root / "dtd" / "dtd" / "labels" / "test1.txt").write_text("\n".join(names) + "\n")


def eurosat(root: Path) -> None:
    for name in ("AnnualCrop", "SeaLake"):
        for number in (1, 2):
            hostile.picture(root / "eurosat" / "2750" / name / f"{name}_{number}.jpg")


def aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    for number in range(4):
        hostile.picture(data / "images" / f"{number}.jpg")
    (data / "variants.txt").write_text("707-320\nA300B4\n")
    (data / "images_variant_test.txt").write_text("0 707-320\n1 A300B4\n2 707-320\n3 A300B4\n")


def flowers(root: Path) -> None:
    folder = root / "flowers-102"
    for number in range(1, 5):
        hostile.picture(folder / "jpg" / f"image_{number:05}.jpg")
    scipy.io.savemat(folder / "setid.mat", {"trnid": [1, 2], "valid": [3], "tstid": [1, 2, 3, 4]})
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": [1, 2, 1, 2]})


def pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    lines = []
    for name, label in (("Abyssinian", 1), ("american_bulldog", 2)):
        for number in (1, 2):
            hostile.picture(folder / "images" / f"{name}_{number}.jpg")
            lines.append(f"{name}_{number} {label} 1 1")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "test.txt").write_text("\n".join(lines) + "\n")


SETS: dict[str, tuple[Callable[[Path], None], str, tuple[str, str]]] = {
    "CIFAR10": (cifar10, ",split=test", ("airplane", "cat")),
    "CIFAR100": (cifar100, ",split=test", ("aquarium fish", "apple")),
    "Caltech101": (caltech101, "", ("cougar body", "lotus")),
    "DTD": (dtd, ",split=test", ("banded", "woven")),
    "EuroSAT": (eurosat, "", ("annual crop land", "lake or sea")),
    "FGVCAircraft": (aircraft, ",split=test", ("707-320", "A300B4")),
    "Flowers102": (flowers, ",split=test", ("pink primrose", "hard-leaved pocket orchid")),
    "OxfordIIITPet": (pets, ",split=test", ("Abyssinian", "American Bulldog")),
}


@pytest.fixture(autouse=True)
def no_checksums(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Tiny files have others; and nothing goes out: what would is listed."""
    for module in ("cifar", "flowers102"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, _=None: Path(path).exists()
        )
    asked: list[object] = []

    def urlopen(request: object, *_: object, **__: object) -> object:
        asked.append(request)
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


@pytest.mark.parametrize("name", SETS)
def test_the_eight_zero_shot_sets(name: str, tmp_path: Path, no_checksums: list[object]) -> None:
    make, split, words = SETS[name]
    make(tmp_path)
    source = open_source(f"torchvision:{name},root={tmp_path}{split}")
    assert sorted(source.index("id").labels.tolist()) == [0, 0, 1, 1]
    assert source.labels is not None
    assert source.labels.classes[:2] == words
    assert source.labels.templates == TEMPLATES[name]
    assert source.images("id", np.arange(4), 8).shape == (4, 3, 8, 8)
    assert not no_checksums


def test_there_are_eight_and_their_texts_are_clips() -> None:
    assert set(TEMPLATES) == set(SETS)
    counts = {name: len(texts) for name, texts in TEMPLATES.items()}
    assert counts == {
        "Caltech101": 34, "CIFAR10": 18, "CIFAR100": 18, "DTD": 8, "EuroSAT": 3, "FGVCAircraft": 2,
        "Flowers102": 1, "OxfordIIITPet": 1,
    }  # fmt: skip
    for texts in TEMPLATES.values():
        assert len(set(texts)) == len(texts)
        assert all(text.count("{}") == 1 for text in texts)
    assert "graffiti of the {}." in TEMPLATES["Caltech101"]
    assert "the {} in a video game." in TEMPLATES["Caltech101"]
    assert "a photo of the small {}." in TEMPLATES["CIFAR10"]


def test_a_set_of_folders_with_a_broken_file(tmp_path: Path) -> None:
    eurosat(tmp_path)
    for number in (3, 4, 5):
        hostile.picture(tmp_path / "eurosat" / "2750" / "SeaLake" / f"SeaLake_{number}.jpg")
    (tmp_path / "eurosat" / "2750" / "AnnualCrop" / "AnnualCrop_1.jpg").write_bytes(b"")
    source = open_source(f"torchvision:EuroSAT,root={tmp_path}")
    rows, images = draw(source, "id", 4, 0, 8)
    assert len(rows) == len(images) == 4
    assert 0 not in rows
    assert "AnnualCrop_1.jpg: UnidentifiedImageError" in source.skipped["id"][0]
    hostile.picture(tmp_path / "eurosat" / "2750" / "AnnualCrop" / "AnnualCrop_1.jpg", (100, 100))
    source = open_source(f"torchvision:EuroSAT,root={tmp_path},pixels=9999")
    draw(source, "id", 7, 0, 8)
    assert "DecompressionBombWarning" in source.skipped["id"][0]
    with pytest.raises(UserError, match=r"more than 0 images of id cannot be read, .*AnnualCrop_1\.jpg"):
        draw(open_source(f"torchvision:EuroSAT,root={tmp_path},pixels=9999,skip=0"), "id", 7, 0, 8)


@pytest.mark.parametrize("name", ["CIFAR10", "EuroSAT", "OxfordIIITPet"])
def test_nothing_is_fetched_unless_the_user_says_so(
    name: str, tmp_path: Path, no_checksums: list[object]
) -> None:
    with pytest.raises(
        UserError, match=f"cannot open {name} .*; to fetch it, add download=yes to the SPEC once"
    ):
        open_source(f"torchvision:{name},root={tmp_path}")
    assert not no_checksums
    with pytest.raises(UserError, match=f"cannot open {name} .*no network in tests.*; check root"):
        open_source(f"torchvision:{name},root={tmp_path},download=yes")
    assert no_checksums


def test_a_checkpoint_may_not_ask_for_a_download(tmp_path: Path, no_checksums: list[object]) -> None:
    spec = f"torchvision:CIFAR10,root={tmp_path},download=yes"
    with pytest.raises(UserError, match=r"the checkpoint asks to download .* name it yourself: --data"):
        open_recorded(spec, None)
    assert not no_checksums


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("EuroSAT,download=maybe", "download must be yes or no"),
        ("ImageFolder,download=yes", "torchvision cannot download ImageFolder; leave out download=yes"),
        ("EuroSAT,skip=x", "skip must be a number"),
        ("EuroSAT,links=yes", "unknown option links"),
    ],
)
def test_options_that_are_none(options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        open_source(f"torchvision:{options},root={tmp_path}")


@pytest.mark.parametrize(
    ("name", "labels"), [("StanfordCars", "_samples"), ("Country211", "targets"), ("STL10", "labels")]
)
def test_lists_of_labels_that_torchvision_keeps(name: str, labels: str) -> None:
    """Of sets whose files are not made here: the attribute is in their code, so a new version is noticed."""
    import inspect

    code = "".join(inspect.getsource(kind) for kind in getattr(torchvision.datasets, name).__mro__[:3])
    assert f"self.{labels}" in code
