"""The 19 corruptions, against the library called alone."""

import sys

import numpy as np
import pytest
import torch

from geomlab.data.corruptions import CORRUPTIONS
from geomlab.errors import UserError
from geomlab.rng import generator

IMAGES = torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))
THEIRS = sorted(set(CORRUPTIONS) - {"gaussian_noise"})


def test_there_are_nineteen() -> None:
    library = pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")
    assert set(CORRUPTIONS) == set(library.get_corruption_names("all"))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_all_at_all_severities(name: str, severity: int) -> None:
    if name in THEIRS:
        pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    one, again = (CORRUPTIONS[name](IMAGES, severity, generator(0, "x")) for _ in range(2))
    assert torch.equal(one, again)
    assert one.shape == IMAGES.shape
    assert 0 <= one.min() <= one.max() <= 1
    assert not torch.allclose(one, IMAGES, atol=1 / 255)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("name", ["shot_noise", "glass_blur", "motion_blur", "fog", "impulse_noise"])
def test_a_sample_s_seed_is_its_own(name: str) -> None:
    pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")
    same = IMAGES[:1].expand(2, -1, -1, -1)
    first, second = CORRUPTIONS[name](same, 3, generator(0, "x"))
    assert not torch.equal(first, second)
    assert torch.equal(CORRUPTIONS[name](same[:1], 3, generator(0, "x"))[0], first)


def test_what_is_the_library_s_own_is_not_changed() -> None:
    library = pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")
    pixels = (IMAGES[0] * 255).round().byte().permute(1, 2, 0).numpy()
    for name in (
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
        "defocus_blur",
    ):  # which draw nothing
        expected = library.corrupt(pixels, 2, name)
        found = CORRUPTIONS[name](IMAGES[:1], 2, generator(0, "x"))[0] * 255
        assert np.array_equal(found.round().byte().permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("shape", [(1, 1, 40, 40), (1, 3, 16, 40)])
def test_images_it_does_not_take(shape: tuple[int, ...]) -> None:
    pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")
    with pytest.raises(UserError, match="takes images of 3 channels and at least 32 pixels a side"):
        CORRUPTIONS["fog"](torch.zeros(shape), 1, generator(0, "x"))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(
        UserError, match=r"corruption:fog needs imagecorruptions-imaug .*geomlab\[corruptions\]"
    ):
        CORRUPTIONS["fog"](IMAGES, 1, generator(0, "x"))


def test_images_it_fails_on(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")

    def fail(*_: object) -> object:
        raise ValueError("too large")

    monkeypatch.setattr(library, "corrupt", fail)
    with pytest.raises(UserError, match=r"corruption:fog fails on images of shape \(3, 40, 56\): too large"):
        CORRUPTIONS["fog"](IMAGES, 1, generator(0, "x"))
