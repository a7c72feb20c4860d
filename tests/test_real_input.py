"""Real networks and real images: a ResNet-20 of others on CIFAR-10, and PACS with its natural domain shift."""

import json
import os
import tarfile
from pathlib import Path

import pytest
import timm
import torch

import geomlab
from tests import cli, resnet20


@pytest.fixture(scope="module")
def data() -> Path:
    folder = resnet20.shared()
    if folder is None:
        reason = "the real data is not here: set GEOMLAB_SHARED to a folder that holds data/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder / "data"


def test_resnet20_on_all_its_cifar_images(data: Path, tmp_path: Path) -> None:
    results = geomlab.analyze(
        data / "resnet20-12fca82f.th", out=tmp_path / "out", model="tests.resnet20:build", data="tests.resnet20:cifar",
        conditions=["clean"], measures=["accuracy"], samples=4000,
    )  # fmt: skip
    found = results["accuracy"].sel(checkpoint="resnet20-12fca82f", condition="clean")
    assert int(found["n"]) == 4000
    assert round(float(found["accuracy"]), 3) == 0.998


def test_resnet20_with_every_measure(data: Path, tmp_path: Path) -> None:
    result = cli.run(
        *(
            "analyze",
            data / "resnet20-12fca82f.th",
            "--out",
            tmp_path / "out",
            "--budget",
            "quick",
            "--samples",
            "16",
        ),
        *("--model", "tests.resnet20:build", "--data", "tests.resnet20:cifar", "--condition", "clean"),
        *("--condition", "pgd:eps=8/255,steps=5"),
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    conditions = found["conditions"]
    assert conditions["clean"]["accuracy"] > 0.95
    assert conditions["pgd"]["accuracy"] < 0.1
    assert found["curvature"]["clean"]["status"] == "converged"
    assert found["curvature"]["clean"]["dim"] == 269_722
    assert list(found["features"]["clean"]["layers"])[-2:] == ["layer3.2", "features"]
    assert found["features"]["pgd"]["cka_to_clean"] < 0.99


@pytest.fixture(scope="module")
def pacs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pacs")
    with tarfile.open(data / "pacs64.tar") as archive:
        # As an argument only from Python 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / "pacs64"


def test_pacs_with_a_network_of_timm(pacs: Path, tmp_path: Path, undrawn: None) -> None:
    """An untrained network: the numbers mean little, but unpaired domains must be told apart from paired ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "net.pt")
    result = cli.run(
        *("analyze", tmp_path / "net.pt", "--out", tmp_path / "out", "--model", "timm:test_resnet"),
        *("--data", f"domains:{pacs},id=photo", "--budget", "quick", "--samples", "35"),
        *("--condition", "clean", "--condition", "domain:sketch", "--measure", "accuracy,features"),
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["conditions"]["domain:sketch"]["n"] == 35
    sketch = found["features"]["domain:sketch"]
    assert sketch["cka_to_clean"] is None
    assert -1 <= sketch["centroid_cosine"] <= 1
    assert sketch["lid"] > 0
    assert any("not the clean samples" in warning for warning in found["warnings"])
    assert found["features"]["clean"]["cka_to_clean"] == pytest.approx(1)
