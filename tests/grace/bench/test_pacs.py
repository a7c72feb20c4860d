import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import pacs

DOMAINS, CLASSES = ("photo", "art_painting", "cartoon", "sketch"), ("dog", "house")
TOWER = ("architecture.vision_cfg.layers=[1,1,1,1]", "architecture.vision_cfg.width=4")
SHORT = ("optimisation.max_steps=2", "optimisation.warmup=1", "optimisation.batch_size=8")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an archive of PACS' form, of random images."""
    (tmp_path / "data").mkdir()
    rng = torch.Generator().manual_seed(0)
    with tarfile.open(tmp_path / "data" / "pacs64.tar", "w") as archive:
        for domain in DOMAINS:
            for name in CLASSES:
                for i in range(25):
                    pixels = torch.randint(0, 256, (16, 16, 3), generator=rng, dtype=torch.uint8)
                    content = io.BytesIO()
                    Image.fromarray(pixels.numpy()).save(content, "png")
                    about = tarfile.TarInfo(f"pacs64/{domain}/{name}/{i}.png")
                    about.size = len(content.getvalue())
                    archive.addfile(about, io.BytesIO(content.getvalue()))
    monkeypatch.setenv("GEOMLAB_SHARED", str(tmp_path))


@pytest.mark.usefixtures("shared", "weak")
def test_it_pretrains_then_compares_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def compare(*more: str) -> list[str]:
        pretraining = [part for text in (*TOWER, *SHORT) for part in ("--pretrain", text)]
        training = [part for text in (*SHORT, "attack.steps=1") for part in ("--set", text)]
        if "grace" not in more[1]:
            training = training[:-2]
        size = ["--seeds", "1", "--samples", "8", "--workers", "1", "--out", str(tmp_path / "out")]
        pacs.main([*pretraining, *training, *size, "--results", str(tmp_path / "pacs.json"), *more])
        return [row["method"] for row in json.loads((tmp_path / "pacs.json").read_text())["rows"]]

    assert compare("--methods", "zero-shot,ft") == ["zero-shot", "ft"]  # none attacks
    assert compare("--methods", "zero-shot,ft,grace") == ["zero-shot", "ft", "grace"]
    found = json.loads((tmp_path / "pacs.json").read_text())
    assert found["rows"][1]["n"].keys() == {
        *("clean", "pgd-20", "apgd-ce", "domain:art_painting", "domain:cartoon", "domain:sketch")
    }
    assert found["command"].startswith(
        "python benchmarks/pacs.py --methods zero-shot,ft,grace --seeds 1 --samples 8"
    )
    assert str(tmp_path) not in json.dumps(found)  # it is committed, and no path of a machine with it
    assert found["start"]["optimisation"]["max_steps"] == 2
    with pytest.raises(SystemExit):
        compare("--methods", "zero-shot,ft", "--pretrain", "optimisation.max_steps=3")
    assert "clip.pt is of another run (recipe.optimisation.max_steps is 2, here 3)" in capfd.readouterr().err
