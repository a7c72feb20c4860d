"""Folders in a tar or a zip: read in place, and refused where a member is not what an image set holds."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from geomlab.data.draw import draw
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from tests import resnet20
from tests.data import hostile

Writer = Callable[..., Path]
WRITERS: dict[str, Writer] = {"tar": hostile.tar, "zip": hostile.zipped}


def contents(root: Path, prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}{path.relative_to(root)}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for domain in ("photo", "art"):
        hostile.classes(tmp_path / "set" / domain, "cat", "dog", each=3)
    return tmp_path / "set"


@pytest.mark.parametrize("prefix", ["", "wrapped/"])
@pytest.mark.parametrize("kind", WRITERS)
def test_an_archive_is_the_folder_it_holds(kind: str, prefix: str, root: Path, tmp_path: Path) -> None:
    files = {**contents(root, prefix), "._hidden": b"", f"{prefix}photo/.hidden/x.png": b""}
    archive = WRITERS[kind](tmp_path / f"a.{kind}", files)
    before = sorted(tmp_path.rglob("*"))
    one, other = open_source(f"domains:{root},id=photo"), open_source(f"domains:{archive},id=photo")
    assert one.domains == other.domains
    assert one.classes == other.classes
    for domain in one.domains:
        assert one.index(domain).ids.tolist() == other.index(domain).ids.tolist()
        rows = np.arange(6)
        assert torch.equal(one.images(domain, rows, 8), other.images(domain, rows, 8))
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_classes_in_an_archive(kind: str, root: Path, tmp_path: Path) -> None:
    archive = WRITERS[kind](tmp_path / f"a.{kind}", contents(root / "art"))
    assert open_source(f"folder:{archive}").classes == ("cat", "dog")
    archive = WRITERS[kind](tmp_path / f"b.{kind}", contents(root / "art" / "cat", "cat/"))
    assert open_source(f"folder:{archive}").classes == ("cat",)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_unreadable_member_is_passed_over(kind: str, root: Path, tmp_path: Path) -> None:
    files = contents(root / "art") | {"cat/1.png": hostile.broken("bomb")}
    source = open_source(f"folder:{WRITERS[kind](tmp_path / f'a.{kind}', files)}")
    rows, _ = draw(source, "id", 6, 0, 8)
    assert len(rows) == 5
    assert "cat/1.png: declares more than" in source.skipped["id"][1]


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "cat/../../x.png", "cat\\..\\x.png", "C:/x.png"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_member_that_leads_out_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    archive = WRITERS[kind](tmp_path / f"a.{kind}", {"cat/0.png": b"", name: b""})
    with pytest.raises(UserError, match=rf"a\.{kind}: member '.*' leads out of the archive"):
        open_source(f"folder:{archive}")


@pytest.mark.parametrize(
    ("kind", "what"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.FIFOTYPE, "no regular file"),
     (tarfile.CHRTYPE, "no regular file"), (tarfile.BLKTYPE, "no regular file")],
)  # fmt: skip
def test_a_tar_with_more_than_files_is_refused(kind: bytes, what: str, tmp_path: Path) -> None:
    member = tarfile.TarInfo("cat/1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    archive = hostile.tar(tmp_path / "a.tar", {"cat/0.png": b""}, member)
    with pytest.raises(UserError, match=f"member 'cat/1.png' is {what}; only files and folders are read"):
        open_source(f"folder:{archive}")


@pytest.mark.parametrize(("mode", "what"), [(0o120777, "a link"), (0o020666, "no regular file")])
def test_a_zip_with_more_than_files_is_refused(mode: int, what: str, tmp_path: Path) -> None:
    archive = hostile.zipped(tmp_path / "a.zip", {"cat/0.png": b"/etc/passwd"}, mode=mode)
    with pytest.raises(UserError, match=f"member 'cat/0.png' is {what}; only files and folders are read"):
        open_source(f"folder:{archive}")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = hostile.zipped(tmp_path / "a.zip", {"cat/0.png": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the list of members
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"'cat/0\.png' is encrypted; write the archive without a password"):
        open_source(f"folder:{archive}")


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile, as it writes one
@pytest.mark.parametrize("kind", WRITERS)
def test_members_of_one_name_are_refused(kind: str, tmp_path: Path) -> None:
    archive = WRITERS[kind](tmp_path / f"a.{kind}", {"cat/0.png": b"a", "cat//0.png": b"b"})
    with pytest.raises(UserError, match=r"two members are named 'cat/0\.png'"):
        open_source(f"folder:{archive}")
    archive = WRITERS[kind](tmp_path / f"b.{kind}", {"cat/0.png": b"a", "cat": b"b"})
    with pytest.raises(UserError, match="'cat' is a file and a folder in one"):
        open_source(f"folder:{archive}")


def test_a_member_that_unpacks_to_much_is_not_unpacked(tmp_path: Path) -> None:
    files = {"cat/0.png": b"\0" * (40 << 20), "cat/1.png": hostile.encoded("PNG")}
    archive = hostile.zipped(tmp_path / "a.zip", files)
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"cat/0\.png: more than 5,048,576 bytes; raise pixels="):
        open_source(f"folder:{archive},pixels=1000000").images("id", np.array([0, 1]), 8)


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.xz"])
def test_a_tar_compressed_as_a_whole_is_refused(ending: str, root: Path, tmp_path: Path) -> None:
    mode = "w:xz" if ending == "tar.xz" else "w:gz"
    archive = hostile.tar(tmp_path / f"a.{ending}", contents(root), mode=mode)
    with pytest.raises(
        UserError, match=r"compressed as a whole gives no single image; decompress it to a \.tar"
    ):
        open_source(f"domains:{archive}")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("data", [b"", b"no archive" * 100, hostile.encoded("PNG")])
def test_what_is_no_archive(data: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.{kind}: not a readable \.tar or \.zip|holds no folders"):
        open_source(f"folder:{path}")


def test_a_tar_that_ends_early(root: Path, tmp_path: Path) -> None:
    files = contents(root / "art")
    archive = hostile.tar(tmp_path / "a.tar", {**files, "dog/9.png": hostile.encoded("PNG")})
    source = open_source(f"folder:{archive}")
    with archive.open("r+b") as file:
        file.truncate(source_start(archive, "dog/9.png") + 100)
    with pytest.raises(UserError, match=r"dog/9\.png: the archive ends before it"):
        source.images("id", np.array([6]), 8)


def source_start(archive: Path, name: str) -> int:
    with tarfile.open(archive) as tar:
        return tar.getmember(name).offset_data


def test_pacs_is_read_from_its_tar() -> None:
    shared = resnet20.shared()
    if shared is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("the real data is not here: set GEOMLAB_SHARED to a folder that holds data/")
    source = open_source(f"domains:{shared / 'data' / 'pacs64.tar'},id=photo")
    assert source.domains == ("photo", "art_painting", "cartoon", "sketch")
    assert source.classes == ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    assert sum(len(source.index(domain).labels) for domain in source.domains) == 9991
    rows, images = draw(source, "sketch", 70, 0, 32)
    assert np.bincount(source.index("sketch").labels[rows]).tolist() == [10] * 7
    assert images.shape == (70, 3, 32, 32)
    assert images.flatten(1).std(1).min() > 0.01
