from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geomlab.data.sources import open_source
from geomlab.errors import UserError


def picture(path: Path, size: tuple[int, int] = (12, 8), colour: tuple[int, int, int] = (255, 0, 51)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for domain in ("photo", "art"):
        for name in ("cat", "dog"):
            for number in range(2):
                picture(tmp_path / domain / name / f"{number}.png")
    (tmp_path / "photo" / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_domains_classes_and_images(root: Path) -> None:
    source = open_source(f"domains:{root},id=photo")
    assert source.domains == ("photo", "art")
    assert source.classes == ("cat", "dog")
    assert source.index("photo").labels.tolist() == [0, 0, 1, 1]
    assert not set(source.index("photo").ids) & set(source.index("art").ids)
    images = source.images("photo", np.array([0, 3]), 6)
    assert images.shape == (2, 3, 6, 6)
    assert images[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_a_folder_of_classes(root: Path) -> None:
    source = open_source(f"folder:{root / 'photo'}")
    assert source.images("id", np.arange(4), None).shape == (4, 3, 8, 12)


def test_a_file_that_is_no_image_is_named(root: Path) -> None:
    (root / "photo" / "cat" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"photo/cat/0\.png: not a readable image"):
        open_source(f"domains:{root},id=photo").images("photo", np.array([0]), 6)


@pytest.mark.parametrize(("mode", "ending"), [("I;16", "png"), ("I;16", "tif"), ("I", "tif"), ("F", "tif")])
def test_images_of_more_than_eight_bits_are_refused(mode: str, ending: str, root: Path) -> None:
    Image.new(mode, (12, 8), 100).save(root / "photo" / "cat" / f"a.{ending}")
    source = open_source(f"domains:{root},id=photo")
    with pytest.raises(
        UserError, match=rf"cat/a\.{ending}: an image of mode I?F?.*, expected 8 bits a channel"
    ):
        source.images("photo", np.arange(5), 6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_images_of_eight_bits_and_fewer_are_read(mode: str, root: Path) -> None:
    Image.new("L", (12, 8), 255).convert(mode).save(root / "photo" / "cat" / "0.png")
    images = open_source(f"domains:{root},id=photo").images("photo", np.array([0]), 6)
    assert (images == 1).all()


def test_a_decompression_bomb_is_not_opened(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"0\.png: declares more than 50 pixels; pixels= in the SPEC raises the limit"
    ):
        open_source(f"domains:{root},id=photo,pixels=50").images("photo", np.array([0]), 6)
    assert open_source(f"domains:{root},pixels=96").images("photo", np.array([0]), 6).shape == (1, 3, 6, 6)


def test_sizes_that_differ_need_a_size(root: Path) -> None:
    picture(root / "photo" / "cat" / "0.png", (20, 20))
    with pytest.raises(UserError, match="images of 2 sizes"):
        open_source(f"folder:{root / 'photo'}").images("id", np.arange(4), None)


def test_domains_of_other_classes_are_refused(root: Path) -> None:
    picture(root / "art" / "horse" / "0.png")
    with pytest.raises(UserError, match=r"differ from those of 'photo' in horse"):
        open_source(f"domains:{root},id=photo")


@pytest.mark.parametrize(
    ("spec", "message"),
    [("domains:{},id=moon", "no domain 'moon'; there are"), ("folder:{}/none", "no folder")],
)
def test_what_is_not_there_is_refused(spec: str, message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message):
        open_source(spec.format(root))


def test_a_root_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match="no image files"):
        open_source(f"folder:{tmp_path}").index("id")
    (tmp_path / "cat").rmdir()
    with pytest.raises(UserError, match="holds no folders"):
        open_source(f"folder:{tmp_path}")


def test_a_split_is_a_fifth_chosen_by_names_alone(tmp_path: Path) -> None:
    for domain in ("photo", "art"):
        for name in ("cat", "dog"):
            for number in range(100):
                picture(tmp_path / domain / name / f"{number}.png", size=(1, 1))
    spec = f"domains:{tmp_path},id=photo"
    train, test, whole = (open_source(spec + split) for split in (",split=train", ",split=test", ""))
    for domain in ("photo", "art"):
        parts = [set(source.index(domain).ids) for source in (train, test)]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(whole.index(domain).ids)
        assert 25 <= len(parts[1]) <= 55
    before = set(test.index("photo").ids)
    picture(tmp_path / "photo" / "cat" / "another.png", size=(1, 1))
    assert before <= set(open_source(f"{spec},split=test").index("photo").ids)
    chosen = open_source(f"folder:{tmp_path / 'art'},split=test").index("id").ids
    assert 25 <= len(chosen) <= 55


def test_another_split_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="split is train or test; without it all files are taken"):
        open_source(f"folder:{root / 'photo'},split=val")
