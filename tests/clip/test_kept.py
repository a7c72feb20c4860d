from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIP

from geomlab import clip
from geomlab.clip import kept
from geomlab.clip.tokens import Tokenizer
from tests.clip import tiny

NAMES, TEMPLATES = ("cat", "dog"), ("a {}.", "the {}.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOMLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zero-shot"


@pytest.fixture(scope="module")
def tokenize() -> Tokenizer:
    return open_clip.get_tokenizer("geomlab-tiny")


def made(model: CLIP, tokenize: Tokenizer, names: tuple[str, ...] = NAMES) -> torch.Tensor:
    return clip.kept_head(model, tokenize, names, TEMPLATES)


def test_a_head_is_made_once(folder: Path, tokenize: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    head = made(model, tokenize)
    assert torch.equal(head, clip.zero_shot_head(model, tokenize, NAMES, TEMPLATES))
    monkeypatch.setattr(kept, "zero_shot_head", None)
    assert torch.equal(made(model, tokenize), head)
    assert len(list(folder.iterdir())) == 1


def test_what_it_depends_on_makes_another(folder: Path, tokenize: Tokenizer) -> None:
    model, other = tiny.model(), tiny.model(seed=1)
    scaled = tiny.model()
    with torch.no_grad():
        scaled.logit_scale.add_(1)
    made(model, tokenize)
    made(other, tokenize)
    made(scaled, tokenize)
    made(model, tokenize, NAMES[::-1])
    made(model, lambda texts: tokenize([text.upper() + " !" for text in texts]))
    quick = tiny.model("geomlab-tiny-quickgelu")
    assert not torch.allclose(made(quick, tokenize), made(model, tokenize))
    assert len(list(folder.iterdir())) == 6


def test_the_image_tower_does_not_matter(folder: Path, tokenize: Tokenizer) -> None:
    model = tiny.model()
    made(model, tokenize)
    with torch.no_grad():
        model.visual.proj.add_(1)
    made(model, tokenize)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", "flip", "cut"])
def test_a_damaged_file_is_made_anew(damage: bytes | str, folder: Path, tokenize: Tokenizer) -> None:
    model = tiny.model()
    head = made(model, tokenize)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes({"flip": flipped, "cut": whole[:-9]}.get(damage, damage))
    assert torch.equal(made(model, tokenize), head)
    assert path.read_bytes() == whole


def test_a_race_leaves_one_whole_file(folder: Path, tokenize: Tokenizer) -> None:
    model = tiny.model()
    with ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(lambda _: made(model, tokenize), range(8)))
    assert all(torch.equal(head, heads[0]) for head in heads)
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_a_folder_that_cannot_be_written_is_no_matter(
    tmp_path: Path, tokenize: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEOMLAB_CACHE", str(tmp_path / "file" / "cache"))
    assert made(tiny.model(), tokenize).shape == (2, 8)


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOMLAB_CACHE", "")
    assert kept.cache() is None
    monkeypatch.delenv("GEOMLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.cache() == tmp_path / "geomlab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kept.cache() == Path.home() / ".cache" / "geomlab"
