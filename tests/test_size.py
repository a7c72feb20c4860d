"""A network of the size people have, on the machine of CI."""

import json
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from geomlab.architectures import HEAD
from geomlab.data.imagenet import wnids
from tests import cli

MINUTES, GIBIBYTES, IMAGES = 15, 16, 64


def imagenet(folder: Path) -> Path:
    """Blocks of noise in eight classes, as files of a photograph's form."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        place = folder / "val" / wnids()[number % 8]
        place.mkdir(parents=True, exist_ok=True)
        blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((400, 300)).save(place / f"ILSVRC2012_val_{number:08}.JPEG")
    return folder


@pytest.mark.slow
def test_a_vit_b_32_is_analysed_in_a_quarter_of_an_hour_and_16_gib(tmp_path: Path) -> None:
    """All families at the quick budget, with a trained head: 1,000 × 80 prompts are no part of it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32")
        state = {**model.state_dict(), HEAD: 10 * torch.nn.functional.normalize(torch.randn(1000, 512))}
        torch.save(state, tmp_path / "net.pt")
    arguments = ["--model", "open_clip:ViT-B-32", "--data", f"imagenet:{imagenet(tmp_path / 'imagenet')}"]
    more = ["--budget", "quick", "--out", tmp_path / "out"]
    start = time.perf_counter()
    with cli.start("analyze", tmp_path / "net.pt", *arguments, *more, stdout=subprocess.DEVNULL) as process:
        _, told = process.communicate()
    minutes = (time.perf_counter() - start) / 60
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{minutes:.1f} minutes, {peak:.1f} GiB")
    assert process.returncode == 0, told
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {"conditions", "curvature", "landscape", "features"} <= found.keys()
    assert {one["n"] for one in found["conditions"].values()} == {IMAGES}
    assert minutes < MINUTES
    assert peak < GIBIBYTES
