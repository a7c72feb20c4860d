"""WebDataset's shards as the library writes them, read in place; and what it would run, which is not run."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from geomlab.data.braces import expanded
from geomlab.data.draw import draw
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from tests import cli
from tests.data import hostile


def jpeg(seed: int, size: tuple[int, int] = (24, 16)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: Path, *samples: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as sink:
        for number, sample in enumerate(samples):
            sink.write({"__key__": f"{path.stem}/{number:04}", **sample})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of four samples."""
    for shard in range(3):
        samples = [
            {
                "jpg": jpeg(4 * shard + i),
                "cls": (shard + i) % 2,
                "json": {"label": (shard + i) % 3, "name": "abc"[i % 3], "deep": [1]},
                "txt": ("wolf", "ape")[i % 2],
                "seg.png": hostile.encoded("PNG"),
            }
            for i in range(4)
        ]
        write(tmp_path / "shards" / f"train-{shard:03}.tar", *samples)
    (tmp_path / "shards" / "README.md").write_text("no shard")
    return tmp_path / "shards"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its files stay open
def test_the_samples_are_those_of_the_library(folder: Path) -> None:
    before = cli.snapshot(folder)
    source = open_source(f"webdataset:{folder}/train-{{000..002}}.tar")
    theirs = webdataset.WebDataset(f"{folder}/train-{{000..002}}.tar", shardshuffle=False).decode("torchrgb8")
    samples = {f"{Path(one['__url__']).name}/{one['__key__']}": one for one in theirs}
    index = source.index("id")
    assert set(index.ids) == set(samples)
    images = source.images("id", np.arange(12), None)
    for name, label, image in zip(index.ids, index.labels, images, strict=True):
        assert label == samples[name]["cls"]
        assert torch.equal(image, samples[name]["jpg"] / 255)
    rows = np.array([7, 0, 11, 7])
    assert torch.equal(source.images("id", rows, None), images[torch.from_numpy(rows)])
    assert torch.equal(open_source(f"webdataset:{folder}").images("id", np.arange(12), None), images)
    assert cli.snapshot(folder) == before


def test_a_subset_is_fixed_and_balanced(folder: Path) -> None:
    (rows, images), (again, same) = (
        draw(open_source(f"webdataset:{spec}"), "id", 6, 3, 8)
        for spec in (folder, f"{folder}/train-{{000..002}}.tar")
    )
    assert rows.tolist() == again.tolist()
    assert torch.equal(images, same)
    assert np.bincount(open_source(f"webdataset:{folder}").index("id").labels[rows]).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("label", "first", "classes"),
    [
        ("cls", [0, 1, 0, 1], None),
        ("json:label", [0, 1, 2, 0], None),
        ("json:name", [0, 1, 2, 0], ("a", "b", "c")),
        ("txt", [1, 0, 1, 0], ("ape", "wolf")),
    ],
)
def test_where_labels_are(
    label: str, first: list[int], classes: tuple[str, ...] | None, folder: Path
) -> None:
    source = open_source(f"webdataset:{folder},label={label}")
    assert source.index("id").labels[:4].tolist() == first
    assert source.classes == classes


def test_names_of_the_classes(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dog\ncat\n")
    source = open_source(f"webdataset:{folder},classes={names}")
    assert source.labels is not None
    assert source.labels.classes == ("dog", "cat")
    names.write_text("wolf\nape\n")
    source = open_source(f"webdataset:{folder},label=txt,classes={names}")
    assert source.index("id").labels[:4].tolist() == [0, 1, 0, 1]
    names.write_text("wolf\n")
    with pytest.raises(UserError, match="the label of sample 1 is 'ape'; expected"):
        open_source(f"webdataset:{folder},label=txt,classes={names}")


def test_which_images(folder: Path) -> None:
    images = open_source(f"webdataset:{folder},image=seg.png;jpg").images("id", np.arange(12), None)
    assert images.shape == (12, 3, 48, 64)
    with pytest.raises(
        UserError, match=r"train-000/0000: no \.gif there, but \.cls, \.jpg, .*; say which holds the ima"
    ):
        open_source(f"webdataset:{folder},image=gif")
    with pytest.raises(UserError, match=r"no \.lab there, but \.cls, .*; say which holds the label: label=…"):
        open_source(f"webdataset:{folder},label=lab")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("txt.cls", r"expected a whole number \(invalid literal"),
        ("json:none", r"0000\.json: expected JSON with none \('none'\); label=… says where else"),
        ("cls:x", r"0000\.cls: expected JSON with x"),
        ("json:deep", r"the label of sample 0 is \[1\]; expected class numbers"),
    ],
)
def test_labels_that_are_none(label: str, message: str, tmp_path: Path) -> None:
    sample = {"jpg": jpeg(0), "cls": 0, "json": {"deep": [1]}}
    if label == "txt.cls":
        sample, label = {**sample, "cls": "wolf"}, "cls"
    write(tmp_path / "x.tar", sample)
    with pytest.raises(UserError, match=message):
        open_source(f"webdataset:{tmp_path},label={label}")


def test_a_label_of_many_bytes_or_brackets(tmp_path: Path) -> None:
    for text, message in (
        (b"[" * 100_000, "expected JSON with x"),
        (b" " * (2 << 20), "more than 1,048,576 bytes"),
    ):
        hostile.tar(tmp_path / "x.tar", {"0.png": b"", "0.json": text})
        with pytest.raises(UserError, match=message):
            open_source(f"webdataset:{tmp_path},label=json:x")


@pytest.mark.parametrize("kind", ["empty", "cut", "mislabelled", "bomb", "bytes"])
def test_an_unreadable_image_is_named_counted_and_passed_over(kind: str, tmp_path: Path) -> None:
    samples = [{"png": hostile.encoded("PNG"), "cls": i % 2} for i in range(8)]
    samples[3]["png"] = hostile.broken(kind)
    source = open_source(f"webdataset:{write(tmp_path / 'x.tar', *samples)},pixels=1000000")
    rows, images = draw(source, "id", 8, 0, 8)
    assert rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert len(images) == 7
    assert "x.tar/x/0003.png: " in source.skipped["id"][3]


class Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_pickles_in_a_sample_are_not_read(tmp_path: Path) -> None:
    """The library's own decoder would: that of `.pyd`."""
    trap = pickle.dumps(Marker(tmp_path / "was-run"))
    files = {
        "0.png": hostile.encoded("PNG"),
        "0.cls": b"0",
        **{f"0.{end}": trap for end in ("pyd", "pickle", "pth")},
    }
    hostile.tar(tmp_path / "x.tar", {**files, "1.png": files["0.png"], "1.cls": b"1"})
    source = open_source(f"webdataset:{tmp_path}")
    assert source.images("id", np.arange(2), 8).shape == (2, 3, 8, 8)
    for spec in ("label=pyd", "image=pth"):
        with pytest.raises(UserError):
            open_source(f"webdataset:{tmp_path},{spec}").images("id", np.arange(1), 8)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png"])
def test_a_member_that_leads_out(name: str, tmp_path: Path) -> None:
    hostile.tar(tmp_path / "x.tar", {"0.cls": b"0", name: b""})
    with pytest.raises(UserError, match=r"x\.tar: member '.*' leads out of the archive"):
        open_source(f"webdataset:{tmp_path}")


def test_members_for_its_own_use_and_hidden_ones(tmp_path: Path) -> None:
    image = hostile.encoded("PNG")
    files = {
        "0.png": image,
        "0.cls": b"0",
        "__meta__/x.json": b"{}",
        "__x__": b"",
        ".hidden.cls": b"",
        "README": b"",
    }
    hostile.tar(tmp_path / "x.tar", files)
    assert open_source(f"webdataset:{tmp_path}").index("id").ids.tolist() == ["x.tar/0"]


def test_what_is_fetched_or_run_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    for shards in (
        f"pipe:touch {marker}",
        "http://x.org/a.tar",
        "https://x.org/{0..9}.tar",
        "gs://a/b.tar",
        "s3://a",
    ):
        with pytest.raises(
            UserError, match=rf"{shards.partition(':')[0]}: is nothing to read in place; fetch the shard"
        ):
            open_source(f"webdataset:{shards}")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ("", "no shard"),
        ("{}/none.tar", r"no shard .*none\.tar; give a folder of \.tar files"),
        ("{}/x-{{0..3}}.tar", r"no shard .*x-1\.tar"),
        ("{}/empty", r"empty holds no \.tar files"),
        ("{}/x-{{0\\,0}}.tar", "names a shard twice"),
        ("{}/hollow.tar", "its shards hold no samples"),
        ("{}/x.tar.gz", "a tar compressed as a whole"),
        ("{}/noise.tar", r"not a readable \.tar or \.zip"),
        ("{}/x-{{0..3", "braces that do not close"),
        ("~nobody-of-that-name/x.tar", "no path can be so named"),
        ("a\0b", "no path can be so named|no shard"),
    ],
)
def test_shards_that_are_none(shards: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "x-0.tar", {"jpg": jpeg(0), "cls": 0})
    (tmp_path / "empty").mkdir()
    hostile.tar(tmp_path / "hollow.tar", {"README": b""})
    (tmp_path / "x.tar.gz").write_bytes(b"")
    (tmp_path / "noise.tar").write_bytes(b"noise" * 300)
    with pytest.raises(UserError, match=message):
        open_source(f"webdataset:{shards.format(tmp_path)}")


def test_a_shard_that_links_out_of_its_folder(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret.tar", {"jpg": jpeg(0), "cls": 0})
    (folder / "z.tar").symlink_to(tmp_path / "secret.tar")
    with pytest.raises(UserError, match="a symbolic link that leads out"):
        open_source(f"webdataset:{folder}")
    assert len(open_source(f"webdataset:{folder},links=yes").index("id").labels) == 13


def test_shards_of_several_folders_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "x.tar", {"jpg": jpeg(0), "cls": 0})
    index = open_source(rf"webdataset:{tmp_path}/{{a\,b}}/x.tar").index("id")
    assert index.ids.tolist() == ["a/x.tar/x/0000", "b/x.tar/x/0000"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("x", ["x"]),
        ("a{08..11}", ["a08", "a09", "a10", "a11"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{a,}", ["a", ""]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    import braceexpand

    assert expanded(pattern) == names == list(braceexpand.braceexpand(pattern))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a}", "do not close"),
        ("{a{0..1}}", "lie in each other"),
        ("{}", "neither a range"),
        ("{a}", "neither a range"),
        ("{3..1}", "neither a range"),
        ("{0..999999999}", "more than 100,000 shards"),
        ("{0..999}{0..999}", "more than 100,000 shards"),
    ],
)
def test_patterns_that_are_none(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expanded(pattern)


def test_from_the_command_line(tmp_path: Path, weights: Path, undrawn: None) -> None:
    samples = [{"png": hostile.encoded("PNG", (4, 4)), "cls": i % 3} for i in range(30)]
    samples[7]["png"] = hostile.broken("cut")
    write(tmp_path / "x.tar", *samples)
    result = cli.run(
        "analyze", weights, "--model", "tests.factories:model", "--data", f"webdataset:{tmp_path}/x.tar", "--samples",
        "30", "--condition", "clean", "--measure", "accuracy", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["conditions"]["clean"]["n"] == 29
    (sentence,) = [line for line in found["warnings"] if "cannot be read" in line]
    assert "x.tar/x/0007.png: not a readable image" in sentence
