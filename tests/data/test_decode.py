"""Resizing and cropping against CLIP's own transform."""

import open_clip
import pytest
import torch
from PIL import Image

from geomlab.data.decode import fit
from geomlab.data.places import Limits


@pytest.mark.parametrize("size", [(64, 48), (49, 101), (33, 32), (32, 32), (20, 31), (101, 67)])
def test_it_is_open_clips_transform(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 80).convert("RGB")
    theirs = open_clip.image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))(image)
    assert torch.allclose(fit(image, 32, Limits()), theirs, atol=1e-6)
