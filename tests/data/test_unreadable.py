"""Images that cannot be read: named, counted, passed over, up to a limit."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geomlab.data.draw import draw, said
from geomlab.data.source import Unreadable, balanced_subset
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from tests import cli
from tests.data import hostile

KINDS = {
    "empty": "not a readable image",
    "noise": "not a readable image",
    "cut": r"not a readable image \(.*truncated",
    "flipped": "not a readable image",
    "mislabelled": "named as PNG, holds JPEG; rename it",
    "postscript": "not a readable image",
    "bomb": "declares more than 1,000,000 pixels; pixels= in the SPEC raises the limit",
    "thread": "1×200000 pixels would become 8×1600000",
    "bytes": "more than 5,048,576 bytes",
}
# 1 MB of pixels: 4 bytes of each and a mebibyte.
LIMIT = 1_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_image_is_named_and_the_next_of_its_class_taken(kind: str, tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", "dog")
    whole = open_source(f"folder:{root},pixels={LIMIT}")
    first = balanced_subset(whole.index("id").labels, 6, 0)
    bad = int(first[0])  # of the cats
    (root / "cat" / f"{bad}.png").write_bytes(hostile.broken(kind))

    rows, images = draw(source := open_source(f"folder:{root},pixels={LIMIT}"), "id", 6, 0, 8)
    assert bad not in rows
    assert set(first) - set(rows) == {bad}
    assert len(set(rows) - set(first)) == 1
    assert np.bincount(source.index("id").labels[rows]).tolist() == [3, 3]
    assert list(source.skipped["id"]) == [bad]
    again = source.images("id", rows, 8)
    assert (images == again).all()
    (sentence,) = said(source, "id")
    assert sentence.startswith("1 of the images of id cannot be read and are left out")
    with pytest.raises(UserError, match=rf"cat/{bad}\.png: {KINDS[kind]}"):
        source.images("id", np.array([bad]), 8)


def test_those_that_are_read_come_with_the_error(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", each=3)
    (root / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(Unreadable, match=r"1\.png") as caught:
        open_source(f"folder:{root}").images("id", np.array([2, 1, 0]), 8)
    assert list(caught.value.reasons) == [1]
    assert list(caught.value.images) == [0, 2]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", each=3)
    os.mkfifo(root / "cat" / "9.png")
    with pytest.raises(UserError, match=r"9\.png: no regular file"):
        open_source(f"folder:{root}").images("id", np.array([3]), 8)


def test_the_number_passed_over_has_a_limit_that_can_be_raised(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", "dog", each=4)
    for number in range(3):
        (root / "dog" / f"{number}.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"more than 2 images of id cannot be read, .*dog.*; mend them, or add skip="
    ):
        draw(open_source(f"folder:{root},skip=2"), "id", 8, 0, 8)
    with pytest.raises(UserError, match="more than 0 images"):
        draw(open_source(f"folder:{root},skip=0"), "id", 8, 0, 8)
    source = open_source(f"folder:{root},skip=3")
    rows, _ = draw(source, "id", 8, 0, 8)
    assert source.index("id").labels[rows].tolist() == [0, 0, 0, 0, 1]  # no further dog
    (root / "dog" / "3.png").write_bytes(b"")
    for number in range(1, 4):
        (root / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"8 samples, 7 of them unreadable: .*; expected at least 2"):
        draw(open_source(f"folder:{root}"), "id", 8, 0, 8)


@pytest.mark.parametrize("option", ["skip=-1", "skip=some", "pixels=0", "links=maybe"])
def test_limits_that_are_none(option: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{option.split('=')[0]} must be"):
        open_source(f"folder:{hostile.classes(tmp_path, 'cat')},{option}")


def test_a_larger_image_is_read_where_the_user_says_so(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", each=2)
    hostile.picture(root / "cat" / "0.png", (2000, 1000))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match="declares more than 900,000 pixels"):
        open_source(f"folder:{root},pixels=900000").images("id", np.arange(2), 8)
    assert open_source(f"folder:{root},pixels=2000000").images("id", np.arange(2), 8).shape == (2, 3, 8, 8)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_link_out_of_the_root(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path / "root", "cat", "dog")
    hostile.picture(tmp_path / "secret.png")
    (root / "cat" / "in.png").symlink_to(root / "dog" / "0.png")
    assert len(open_source(f"folder:{root}").index("id").labels) == 13
    (root / "cat" / "out.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"out\.png: a symbolic link that leads out of .*add links=yes"):
        open_source(f"folder:{root}").index("id")
    assert len(open_source(f"folder:{root},links=yes").index("id").labels) == 14
    (root / "cat" / "out.png").unlink()
    (root / "loop").symlink_to(root / "loop")
    for links, message in (("no", "in a circle"), ("yes", "Too many levels of symbolic links")):
        with pytest.raises(UserError, match=message):
            open_source(f"folder:{root},links={links}")
    (root / "loop").unlink()
    (root / "all").symlink_to(tmp_path)
    with pytest.raises(UserError, match="all: a symbolic link that leads out"):
        open_source(f"folder:{root}")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(hostile.classes(tmp_path / "root", "cat"))
    assert len(open_source(f"folder:{tmp_path / 'link'}").index("id").labels) == 6


def test_the_results_say_it_once(tmp_path: Path, weights: Path, undrawn: None) -> None:
    root = hostile.classes(tmp_path / "images", "a", "b", "c", each=10, size=(4, 4))
    (root / "b" / "1.png").write_bytes(hostile.broken("cut"))
    out = tmp_path / "out"
    result = cli.run(
        "analyze", weights, "--model", "tests.factories:model", "--data", f"folder:{root}", "--samples", "30",
        "--condition", "clean", "--condition", "fgsm", "--measure", "accuracy,features", "--budget", "quick",
        "--out", out,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((out / "summary.json").read_text())
    assert found["conditions"]["clean"]["n"] == found["conditions"]["fgsm"]["n"] == 29
    (sentence,) = [line for line in found["warnings"] if "cannot be read" in line]
    assert sentence.startswith("accuracy, features (clean, fgsm): 1 of the images of id cannot be read")
    assert "b/1.png: not a readable image" in sentence


def test_a_name_that_cannot_be_printed(tmp_path: Path) -> None:
    root = hostile.classes(tmp_path, "cat", each=3)
    (root / "cat" / "\x1b[2J\udc80.png").write_bytes(b"")
    source = open_source(f"folder:{root}")
    rows, _ = draw(source, "id", 4, 0, 8)
    assert len(rows) == 3
    (sentence,) = said(source, "id")
    assert sentence.isprintable()
