"""Images are brought to the network's size as the network's own library does it."""

import io
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from geomlab import architectures, checkpoint, subject
from geomlab.architectures import Frame, Preprocessing
from geomlab.data.decode import fit
from geomlab.data.places import Limits
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.spec import parse
from tests import resnet20


def photographs() -> list[Image.Image]:
    """JPEGs of odd sizes: smooth in part, in part noise; and one of PACS where it is at hand."""
    found = []
    for seed, (width, height) in enumerate([(301, 200), (97, 333), (260, 260), (224, 224)]):
        rng = np.random.default_rng(seed)
        small = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        image.paste(Image.effect_noise((width // 3, height // 3), 60).convert("RGB"), (5, 5))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG")
        found.append(Image.open(buffer))
    if (folder := resnet20.shared()) is not None:
        pacs = open_source(f"domains:{folder / 'data' / 'pacs64.tar'},id=photo").images(
            "photo", np.array([0]), None
        )
        found.append(functional.to_pil_image(pacs[0]))
    return found


def same(own: Preprocessing, theirs: Any) -> None:
    """The library's transform normalises; undone, its images are ours."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (own.mean, own.std))
    for image in photographs():
        expected: Tensor = theirs(image) * std + mean
        assert torch.allclose(fit(image.convert("RGB"), own.frame, Limits()), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_timm(name: str) -> None:
    _, own = architectures.libraries.timm(parse(f"timm:{name}"), None)
    config = timm.data.resolve_data_config({}, model=timm.create_model(name))
    same(own, timm.data.create_transform(**config))
    assert own.resize != own.size


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [0.875, 0.95, 1.0])
def test_timm_in_every_way(
    mode: str, interpolation: str, crop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"input_size": (3, 96, 96), "crop_pct": crop, "crop_mode": mode, "interpolation": interpolation,
              "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}  # fmt: skip
    monkeypatch.setattr(timm.data, "resolve_data_config", lambda *_, **__: config)
    _, own = architectures.libraries.timm(parse("timm:test_resnet"), None)
    same(own, timm.data.create_transform(**config))
    plain = (mode, interpolation, crop) == ("center", "bicubic", 1.0)
    assert (set(own.described()) == {"size", "mean", "std"}) == plain


@pytest.mark.parametrize(
    ("name", "tag"),
    [("squeezenet1_1", None), ("mobilenet_v3_large", "IMAGENET1K_V2"), ("efficientnet_b3", None), ("swin_t", None)],
)  # fmt: skip
def test_torchvision(name: str, tag: str | None) -> None:
    known = torchvision.models.get_model_weights(name)
    same(
        architectures.libraries.of_weights(known, tag or "IMAGENET1K_V1"),
        known[tag or "IMAGENET1K_V1"].transforms(),
    )


def test_torchvision_without_such_weights() -> None:
    for name in ("regnet_y_128gf", "fcn_resnet50"):
        own = architectures.libraries.of_weights(torchvision.models.get_model_weights(name), "IMAGENET1K_V1")
        assert own == Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_open_clip(mode: str, interpolation: str) -> None:
    config = {
        "size": 64,
        "interpolation": interpolation,
        "resize_mode": mode,
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
    }
    own = architectures.preprocessing_of_clip(
        SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=config, image_size=64))
    )
    same(own, image_transform_v2(PreprocessCfg(**config), is_train=False))


def test_clips_of_before_keep_their_digest() -> None:
    config = asdict(PreprocessCfg())
    own = architectures.preprocessing_of_clip(
        SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=config, image_size=224))
    )
    assert own.described() == {
        "size": 224,
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
    }
    assert own.frame == Frame(224, 224)


def test_what_a_checkpoint_records_is_read_again() -> None:
    own = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, resize=20, interpolation="bilinear", mode="squash")
    fields = architectures.preprocessing_of({"preprocessing": own.described()})
    assert replace(Preprocessing(), **fields) == own
    older = {"preprocessing": {"size": 16}}
    assert replace(own, **architectures.preprocessing_of(older)) == replace(
        own, resize=None, interpolation="bicubic", mode="shortest"
    )
    assert architectures.preprocessing_of({"preprocessing": {"mean": [0, 0, 0]}}) == {"mean": (0, 0, 0)}


@pytest.mark.parametrize(
    "field", [{"resize": 0}, {"resize": 1.5}, {"interpolation": "spline"}, {"mode": ["squash"]}]
)
def test_fields_that_are_none(field: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected numbers: size, a whole one"):
        architectures.preprocessing_of({"preprocessing": {"size": 8, **field}})


def test_the_digest_changes_where_the_resizing_does(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "net.pt")
    read = checkpoint.read(tmp_path / "net.pt")
    digests = {
        subject.load(
            replace(read, metadata={"preprocessing": {"size": 160, **more}}), model="timm:test_resnet"
        ).digest
        for more in ({}, {"mode": "shortest"}, {"mode": "squash"}, {"resize": 182})
    }
    assert len(digests) == 3
