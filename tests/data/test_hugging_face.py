"""Sets in the forms of Hugging Face's `datasets`: what the library itself reads, and nothing that it would follow."""

import io
import json
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from geomlab.data.arrow_streams import is_compressed
from geomlab.data.draw import draw
from geomlab.data.source import Source
from geomlab.data.sources import open_recorded, open_source
from geomlab.errors import UserError
from tests import cli
from tests.data import hostile


def jpeg(seed: int, size: tuple[int, int] = (24, 16)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


NAMES = datasets.ClassLabel(names=["dog", "cat"])


def made(cells: list[Any] | None = None, label: Any = NAMES, values: list[Any] | None = None) -> Any:
    cells = cells or [{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(12)]
    values = values or [i % 2 for i in range(len(cells))]
    features = datasets.Features(
        {"number": datasets.Value("int32"), "image": datasets.Image(), "label": label}
    )
    columns = {"number": list(range(len(cells))), "image": cells, "label": values}
    return datasets.Dataset.from_dict(columns, features=features)


def stored(data: Any, folder: Path) -> Path:
    data.save_to_disk(folder)
    return folder


def parquet(data: Any, folder: Path, name: str = "test-00000-of-00001.parquet", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data.to_parquet(folder / name, **options)
    return folder


def streams(data: Any, folder: Path) -> Path:
    folder.mkdir()
    for number, name in enumerate(("new_stream", "new_file")):
        table = data.shard(2, number, contiguous=True).with_format("arrow")[:]
        path = str(folder / f"x-train-{number:05}-of-00002.arrow")
        with getattr(pyarrow.ipc, name)(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return folder


FORMS: dict[str, Callable[[Any, Path], Path]] = {
    "save_to_disk": stored,
    "parquet": lambda data, folder: parquet(data, folder, batch_size=5),
    "data/parquet": lambda data, folder: parquet(data, folder / "data").parent,
    "arrow": streams,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_images_are_those_of_the_library(form: str, tmp_path: Path) -> None:
    data = made()
    folder = FORMS[form](data, tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    source = open_source(f"hf:{folder}")
    assert source.classes == ("dog", "cat")
    assert source.index("id").labels.tolist() == data["label"][:]
    assert len(set(source.index("id").ids)) == 12
    rows = np.array([7, 0, 11, 3, 4, 3])
    images = source.images("id", rows, None)
    for row, image in zip(rows.tolist(), images, strict=True):
        theirs = torch.from_numpy(np.array(data[row]["image"])).permute(2, 0, 1) / 255
        assert torch.equal(image, theirs)
    assert source.images("id", rows, 8).shape == (6, 3, 8, 8)
    assert sorted(tmp_path.rglob("*")) == before  # no cache beside it


def test_a_subset_is_fixed_by_its_seed_whatever_the_form(tmp_path: Path) -> None:
    drawn = [
        draw(open_source(f"hf:{make(made(), tmp_path / str(i))}"), "id", 6, 3, 8)
        for i, make in enumerate(FORMS.values())
    ]
    for rows, images in drawn[1:]:
        assert rows.tolist() == drawn[0][0].tolist()
        assert torch.equal(images, drawn[0][1])


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        ["my_train.parquet", "my-val-1.parquet", "other.parquet"],
        ["a.parquet", "b.parquet"],
    ],
)
def test_the_splits_are_those_of_the_library(names: list[str], tmp_path: Path) -> None:
    for number, name in enumerate(names):
        parquet(made(values=[number % 2] * 12), tmp_path / "set" / "data", name)
    theirs = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    for split, data in theirs.items():
        source = open_source(f"hf:{tmp_path / 'set'},split={split}")
        assert source.index("id").labels.tolist() == data["label"][:]
    if len(theirs) > 1:
        with pytest.raises(UserError, match=r"does not say its split; there are \w+, train: add split=…"):
            open_source(f"hf:{tmp_path / 'set'}")


def test_a_dict_of_sets(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": made(), "test": made(values=[1] * 12)}).save_to_disk(tmp_path / "set")
    assert open_source(f"hf:{tmp_path / 'set'},split=test").index("id").labels.tolist() == [1] * 12
    with pytest.raises(UserError, match="no split 'val'; there are train, test"):
        open_source(f"hf:{tmp_path / 'set'},split=val")
    whole = open_source(f"hf:{tmp_path},config=set,split=train")
    assert whole.index("id").labels.tolist() == [0, 1] * 6
    with pytest.raises(UserError, match="has no folder 'other'"):
        open_source(f"hf:{tmp_path},config=other")


def test_labels_that_are_numbers_or_names(tmp_path: Path) -> None:
    numbers = stored(made(label=datasets.Value("int16"), values=[3, 0] * 6), tmp_path / "numbers")
    source = open_source(f"hf:{numbers}")
    assert source.classes is None
    assert source.labels is None
    assert source.index("id").labels.tolist() == [3, 0] * 6
    (tmp_path / "names.txt").write_text("a\nb\nc\n\nd\n")
    assert open_source(f"hf:{numbers},classes={tmp_path / 'names.txt'}").classes == ("a", "b", "c", "d")
    names = parquet(made(label=datasets.Value("string"), values=["wolf", "ape"] * 6), tmp_path / "words")
    source = open_source(f"hf:{names}")
    assert source.classes == ("ape", "wolf")
    assert source.index("id").labels.tolist() == [1, 0] * 6
    (tmp_path / "names.txt").write_text("wolf\ncow\nape\n")
    source = open_source(f"hf:{names},classes={tmp_path / 'names.txt'}")
    assert source.index("id").labels.tolist() == [0, 2] * 6


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (NAMES, [0, -1] * 6, "the label of sample 1 is -1; expected class numbers from 0 on"),
        (datasets.Value("int64"), [0, None] * 6, "the label of sample 1 is None"),
        (datasets.Value("int64"), [0, 1 << 40] * 6, "the label of sample 1 is 1099511627776"),
        (datasets.Value("string"), ["a", None] * 6, "the label of sample 0 is 'a'"),
        (datasets.Value("float32"), [0.5, 1.0] * 6, r"column label holds Value\('float32'\); expected a ClassLabel"),
        (datasets.Value("bool"), [True, False] * 6, r"column label holds Value\('bool'\)"),
        (datasets.List(datasets.Value("int64")), [[0], [1, 2]] * 6, "column label holds List"),
    ],
)  # fmt: skip
def test_labels_that_are_none(kind: Any, values: list[Any], message: str, tmp_path: Path) -> None:
    stored(made(label=kind, values=values), tmp_path / "set")
    with pytest.raises(UserError, match=message):
        open_source(f"hf:{tmp_path / 'set'},label=label")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "must hold the names"), ("a\na\n", "each once"), ("a\n", "sample 1 is 1; .*fewer than there are")],
)  # fmt: skip
def test_names_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    folder = stored(made(), tmp_path / "set")
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        open_source(f"hf:{folder},classes={tmp_path / 'names.txt'}")
    with pytest.raises(UserError, match=r"cannot read the class names of .*none\.txt: No such file"):
        open_source(f"hf:{folder},classes={tmp_path / 'none.txt'}")
    with pytest.raises(UserError, match=r"cannot read the class names of ~nobody-of-that-name/x"):
        open_source(f"hf:{folder},classes=~nobody-of-that-name/x")


def test_columns_by_name(tmp_path: Path) -> None:
    data = made().add_column("fine", list(range(12))).cast_column("fine", datasets.ClassLabel(num_classes=12))
    data = data.map(lambda row: {"mask": row["image"]})
    folder = stored(data, tmp_path / "set")
    with pytest.raises(UserError, match="does not say its image; there are image, mask: add image=…"):
        open_source(f"hf:{folder},label=fine")
    with pytest.raises(UserError, match="does not say its label; there are label, fine: add label=…"):
        open_source(f"hf:{folder},image=mask")
    with pytest.raises(UserError, match="no label 'coarse'; there are number, label, fine"):
        open_source(f"hf:{folder},image=mask,label=coarse")
    with pytest.raises(UserError, match=r"column number holds .*; expected images as bytes or files"):
        open_source(f"hf:{folder},image=number")
    source = open_source(f"hf:{folder},image=mask,label=fine")
    assert source.index("id").labels.tolist() == list(range(12))


def test_a_table_of_others_without_the_library(tmp_path: Path) -> None:
    table = pyarrow.table({"jpg": [jpeg(i) for i in range(4)], "label": [0, 1, 0, 1], "id": [5, 6, 7, 8]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    source = open_source(f"hf:{tmp_path}")
    assert source.images("id", np.arange(4), None).shape == (4, 3, 16, 24)
    (tmp_path / "nested").mkdir()
    nested = pyarrow.table({"x": [{"bytes": jpeg(i)} for i in range(4)], "label": ["a", "b"] * 2})
    pyarrow.parquet.write_table(nested, tmp_path / "nested" / "x.parquet")
    other = open_source(f"hf:{tmp_path / 'nested'}")
    assert torch.equal(other.images("id", np.arange(4), 8), source.images("id", np.arange(4), 8))


def test_files_of_several_kinds(tmp_path: Path) -> None:
    parquet(made(), tmp_path, "train-00000-of-00002.parquet")
    parquet(made(label=datasets.Value("int64")), tmp_path, "train-00001-of-00002.parquet")
    with pytest.raises(UserError, match="its files have columns of several kinds"):
        open_source(f"hf:{tmp_path}")


BROKEN = {
    "empty": "not a readable image",
    "cut": r"not a readable image \(.*truncated",
    "mislabelled": "named as PNG, holds JPEG; rename it",
    "postscript": "not a readable image",
    "bomb": "declares more than 1,000,000 pixels",
    "bytes": "more than 5,048,576 bytes",
}


@pytest.mark.parametrize("form", ["save_to_disk", "parquet"])
@pytest.mark.parametrize("kind", BROKEN)
def test_an_unreadable_image_is_named_counted_and_passed_over(kind: str, form: str, tmp_path: Path) -> None:
    cells: list[Any] = [{"bytes": jpeg(i), "path": None} for i in range(12)]
    cells[4] = {"bytes": hostile.broken(kind), "path": "deep/4.png"}
    cells[5] = None
    source = open_source(f"hf:{FORMS[form](made(cells), tmp_path / 'set')},pixels=1000000")
    rows, images = draw(source, "id", 12, 0, 8)
    assert rows.tolist() == [0, 1, 2, 3, *range(6, 12)]
    assert len(images) == 10
    assert "row 5 of t" in source.skipped["id"][5]
    assert source.skipped["id"][5].endswith("the row holds no image")
    with pytest.raises(UserError, match=rf"row 4 of \w+ \(4\.png\): {BROKEN[kind]}"):
        source.images("id", np.array([4]), 8)


def with_paths(folder: Path, *paths: str) -> Source:
    """A set whose rows name files: the library writes their bytes, others need not."""
    table = made([{"bytes": jpeg(i), "path": None} for i in range(len(paths))]).with_format("arrow")[:]
    cells = pyarrow.array([{"bytes": None, "path": path} for path in paths], table.schema.field("image").type)
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(table.set_column(1, table.schema.field("image"), cells), folder / "x.parquet")
    return open_source(f"hf:{folder}")


def test_a_path_is_followed_below_the_folder_alone(tmp_path: Path) -> None:
    secret = hostile.picture(tmp_path / "secret.png")
    folder = tmp_path / "set"
    inside = hostile.picture(folder / "images" / "0.png")
    (folder / "images" / "link.png").symlink_to(secret)
    paths = ("images/0.png", str(inside), "images/../../secret.png", str(secret), "images/link.png", "https://x.org/a.png",
             "file:///etc/passwd", "zip://a.png::/x.zip", "a\0.png", "images/none.png", "/dev/zero")  # fmt: skip
    source = with_paths(folder, *paths)
    assert source.images("id", np.arange(2), 8).shape == (2, 3, 8, 8)
    for row, message in (
        [(row, "names a file out of .*set, which is not followed") for row in (2, 3, 4, 10)]
        + [(row, "No such file") for row in (5, 6, 7, 9)]
        + [(8, "cannot be followed")]
    ):
        with pytest.raises(UserError, match=message):
            source.images("id", np.array([row]), 8)


def test_a_script_is_not_run(tmp_path: Path) -> None:
    folder, marker = parquet(made(), tmp_path / "set"), tmp_path / "was-run"
    (folder / "set.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(
        UserError, match=r"comes with a loading script, set\.py, which is not run; write the set as Parq"
    ):
        open_source(f"hf:{folder}")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"_data_files": [{"filename": "../other/x.arrow"}]}, "names '../other/x.arrow', which does not lie beside it"),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "names '/etc/passwd', which does not lie beside it"),
        ({"_data_files": [{"filename": "dataset_info.json"}]}, r"dataset_info\.json: not a readable \.json file"),
        ({"_data_files": []}, "lists no names of files"),
        ({"_data_files": [{"name": "x"}]}, "lists no names of files"),
        ({"_data_files": "x"}, "lists no names of files"),
        ({"_data_files": 5}, "lists no names of files"),
        ([], "is no JSON object, but a list"),
        ("{", "is no JSON"),
    ],
)  # fmt: skip
def test_a_state_that_somebody_wrote(state: Any, message: str, tmp_path: Path) -> None:
    stored(made(), tmp_path / "other")
    folder = stored(made(), tmp_path / "set")
    (folder / "state.json").write_text(state if isinstance(state, str) else json.dumps(state))
    with pytest.raises(UserError, match=message):
        open_source(f"hf:{folder}")


def test_the_formats_that_a_state_names_are_not_asked_for(tmp_path: Path) -> None:
    folder = stored(made(), tmp_path / "set")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(
        json.dumps({**state, "_format_type": "custom", "_format_kwargs": {"x": 1}})
    )
    assert open_source(f"hf:{folder}").images("id", np.arange(2), None).shape == (2, 3, 16, 24)


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = stored(made(), tmp_path / "set")
    (shard,) = folder.glob("*.arrow")
    shard.rename(tmp_path / "elsewhere.arrow")
    shard.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(UserError, match=r"a symbolic link that leads out of .*add links=yes"):
        open_source(f"hf:{folder}")
    assert open_source(f"hf:{folder},links=yes").index("id").labels.tolist() == [0, 1] * 6


@pytest.mark.parametrize("form", ["save_to_disk", "parquet"])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.9])
def test_a_damaged_table_is_refused(form: str, at: float, tmp_path: Path) -> None:
    folder = FORMS[form](made(), tmp_path / "set")
    (path,) = (path for path in folder.iterdir() if path.suffix != ".json")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(at * len(whole))])
    with pytest.raises(UserError, match=r"not a readable \.(arrow|parquet) file \(.*\); fetch it again"):
        open_source(f"hf:{folder}")


def test_offsets_that_lead_out_of_the_file(tmp_path: Path) -> None:
    """Arrow itself would read there."""
    cells = pyarrow.array([b"x" * 100, b"y" * 50])
    offsets = np.array([0, 1 << 30, 150], dtype=np.int32)  # a cheap check looks at the last alone
    odd = pyarrow.BinaryArray.from_buffers(
        cells.type, 2, [None, pyarrow.py_buffer(offsets), cells.buffers()[2]]
    )
    table = pyarrow.table({"image": odd, "label": [0, 1]})
    with pyarrow.ipc.new_stream(str(tmp_path / "x.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UserError, match=r"x\.arrow: not a readable \.arrow file"):
        open_source(f"hf:{tmp_path}").images("id", np.arange(2), 8)


@pytest.mark.parametrize("form", ["new_stream", "new_file"])
@pytest.mark.parametrize("column", ["image", "label"])
def test_a_compressed_table_is_refused_before_it_is_decompressed(
    form: str, column: str, tmp_path: Path
) -> None:
    """Of a dictionary, or of a batch."""
    large = pyarrow.array([b"0" * (1 << 28)])
    table = pyarrow.table({"image": large, "label": [0]})
    if column == "label":
        table = pyarrow.table({"image": [b""], "label": large.dictionary_encode()})
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with getattr(pyarrow.ipc, form)(str(tmp_path / "x.arrow"), table.schema, options=options) as writer:
        writer.write_table(table)
    del table, large
    assert (tmp_path / "x.arrow").stat().st_size < 1 << 20
    pool = pyarrow.default_memory_pool()
    before = pool.total_bytes_allocated()
    with pytest.raises(UserError, match=r"x\.arrow: is compressed; write it uncompressed, or as Parquet"):
        open_source(f"hf:{tmp_path}")
    assert pool.total_bytes_allocated() - before < 1 << 20


def test_an_offset_out_of_a_message() -> None:
    for metadata in (b"", b"\xff" * 64, struct.pack("<Ii", 4, 1 << 30)):
        with pytest.raises(struct.error):
            is_compressed("record batch", metadata)


def test_a_table_that_unpacks(tmp_path: Path) -> None:
    """Eight images of nothing but zeros, which are no images: a thousandth of it lies in the file."""
    table = pyarrow.table({"image": [bytes(1 << 22)] * 8, "label": list(range(8))})
    where = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(table, where, compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match=r"x\.parquet: image unpacks from [\d,]+ bytes to 33,"):
        open_source(f"hf:{tmp_path}")


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    cells = pyarrow.array([{"bytes": b"", "path": 1}] * 2)
    pyarrow.parquet.write_table(pyarrow.table({"image": cells, "label": [0, 1]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="does not say its image"):
        open_source(f"hf:{tmp_path}")


def test_more_rows_than_bytes(tmp_path: Path) -> None:
    n = 1_000_000
    table = pyarrow.table({"image": pyarrow.repeat(b"", n), "label": pyarrow.repeat(0, n)})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < n
    with pytest.raises(UserError, match=r"x\.parquet: declares 1,000,000 rows in [\d,]+ bytes"):
        open_source(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:", "no folder '', nor a name of the hub"),
        ("hf:../x", "nor a name of the hub, OWNER/NAME"),
        ("hf:parquet", "nor a name of the hub, OWNER/NAME"),
        ("hf:a/b/c", "nor a name of the hub, OWNER/NAME"),
        ("hf:https://x.org/a", "nor a name of the hub, OWNER/NAME"),
        ("hf:a\0/b", "no path can be so named|nor a name of the hub"),
        ("hf:~nobody-of-that-name/b", "no path can be so named"),
        ("hf:a/b,code=yes", "unknown option code"),
        ("hf:a/b,download=maybe", "download must be yes or no"),
    ],
)
def test_what_is_no_set(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_source(spec)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds no set that save_to_disk wrote, and no \.parquet or \.arrow files"
    ):
        open_source(f"hf:{tmp_path}")


def test_a_table_of_no_rows(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"image": [b""], "label": [0]})[:0], tmp_path / "x.parquet")
    with pytest.raises(UserError, match="its split train has no rows"):
        open_source(f"hf:{tmp_path}")


def test_columns_that_cannot_be_understood(tmp_path: Path) -> None:
    about = json.dumps({"info": {"features": {"image": {"_type": "Exec", "x": 1}}}})
    table = pyarrow.table({"image": [b""], "label": [0]}).replace_schema_metadata({"huggingface": about})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match="its columns cannot be understood"):
        open_source(f"hf:{tmp_path}")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        UserError, match=r"needs Hugging Face's datasets \(.*\); pip install 'geomlab\[datasets\]'"
    ):
        open_source(f"hf:{tmp_path}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and a network of which every use is listed and fails."""
    asked: list[str] = []

    def getaddrinfo(host: object, *_: object, **__: object) -> None:
        asked.append(str(host))
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("time.sleep", lambda _: None)  # before it tries again
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for place in (datasets.config, constants):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", False)
    return asked


def test_the_hub_is_asked_only_where_the_user_says_so(hub: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"cannot open me/set: .*; to fetch it, add download=yes to the SPEC once"
    ):
        open_source("hf:me/set")
    assert hub == []
    assert not datasets.config.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    with pytest.raises(UserError, match=r"the checkpoint asks to download .* name it yourself: --data"):
        open_recorded("hf:me/set,download=yes", None)
    assert hub == []
    with pytest.raises(UserError, match=r"cannot open me/set: .*; check its name"):
        open_source("hf:me/set,download=yes")
    assert hub


def test_a_set_that_is_in_the_cache(
    hub: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = parquet(made(), tmp_path / "set")
    datasets.load_dataset(
        "parquet", data_files={"test": str(folder / "*.parquet")}, cache_dir=str(tmp_path / "made")
    )
    (prepared,) = (path.parent for path in (tmp_path / "made").rglob("dataset_info.json"))
    about = json.loads((prepared / "dataset_info.json").read_text())
    target = tmp_path / "cache" / "me___set" / "default" / "0.0.0" / "abc"
    shutil.copytree(prepared, target)
    (target / "parquet-test.arrow").rename(target / "set-test.arrow")
    (target / "dataset_info.json").write_text(
        json.dumps({**about, "builder_name": "parquet", "dataset_name": "set", "config_name": "default"})
    )
    capfd.readouterr()
    source = open_source("hf:me/set,split=test")
    assert source.classes == ("dog", "cat")
    assert torch.equal(
        source.images("id", np.arange(3), 8), open_source(f"hf:{folder}").images("id", np.arange(3), 8)
    )
    assert hub == []
    assert capfd.readouterr() == ("", "")


def test_a_hub_set_of_another_form(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_: object.__new__(ImageFolder))
    with pytest.raises(
        UserError, match="the hub has me/set as imagefolder, and only Parquet and Arrow are read"
    ):
        open_source("hf:me/set,download=yes")


def test_from_the_command_line(tmp_path: Path, weights: Path, undrawn: None) -> None:
    cells = [{"bytes": hostile.encoded("PNG", (4, 4)), "path": None} for _ in range(30)]
    cells[7] = {"bytes": hostile.broken("cut"), "path": "7.png"}
    label = datasets.ClassLabel(names=["a", "b", "c"])
    folder = stored(made(cells, label, [i % 3 for i in range(30)]), tmp_path / "set")
    result = cli.run(
        "analyze", weights, "--model", "tests.factories:model", "--data", f"hf:{folder}", "--samples", "30",
        "--condition", "clean", "--measure", "accuracy", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["conditions"]["clean"]["n"] == 29
    (sentence,) = [line for line in found["warnings"] if "cannot be read" in line]
    assert "row 7 of train (7.png): not a readable image" in sentence
