"""A file appears whole, with the permissions of any new file."""

import os
from pathlib import Path

import pytest

from geomlab import files, information, pretrained
from geomlab.errors import UserError


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_holds(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        files.replace(tmp_path / "deep" / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == mode
    assert (tmp_path / "deep" / "file").read_bytes() == b"content"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.replace(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


LONG = "a" * 300


@pytest.mark.parametrize(
    "given",
    [
        LONG,
        *(f"{library}:{LONG}" for library in ("open_clip", "transformers", "timm", "torchvision")),
        f"open_clip:local-dir:{LONG}",
        f"open_clip:ViT-B-32,pretrained={LONG}",
    ],
)
def test_a_name_that_the_file_system_does_not_take_is_one_line(given: str) -> None:
    with pytest.raises(UserError, match=LONG) as refused:
        pretrained.read(given)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=f"{LONG}: .*(too long|cannot|no such)"):
        information.of(Path(given))
    assert not files.is_there(given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no JSON"),
        (b"\xff{}", "is no JSON"),
        (b"[1]", "is no JSON object, but a list"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"a": "' + b" " * 200 + b'"}', "is larger than"),
    ],
)
def test_json_of_others(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "larger" in message:
        monkeypatch.setattr(files, "JSON", 100)
    (tmp_path / "about.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        files.json_object(tmp_path / "about.json")
    (tmp_path / "about.json").write_bytes(b'{"a": 1}')
    assert files.json_object(tmp_path / "about.json") == {"a": 1}
