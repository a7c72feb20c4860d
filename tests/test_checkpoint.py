from pathlib import Path

import pytest
import torch

from geomlab import checkpoint
from geomlab.checkpoint import describe, read, write
from geomlab.data.embedded import checkpoint_path

TENSORS = {
    "b.weight": torch.arange(6.0).view(2, 3),
    "a": torch.ones(2, dtype=torch.float64),
    "n": torch.tensor(3),
}
METADATA = {"architecture": {"spec": "timm:x"}, "classes": ["one", "two"], "seed": 0}


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors"])
def test_round_trip(name: str, tmp_path: Path) -> None:
    written = write(tmp_path / name, TENSORS, METADATA)
    again = read(tmp_path / name)
    assert again.digest == written.digest
    assert again.sha256 == written.sha256
    assert dict(again.metadata) == dict(written.metadata)
    assert again.metadata["classes"] == ["one", "two"]
    for key, tensor in TENSORS.items():
        assert torch.equal(again.tensors[key], tensor)
        assert again.tensors[key].dtype == tensor.dtype


def test_either_format_has_one_digest_and_the_same_input_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.safetensors"]
    written = [write(path, TENSORS, METADATA) for path in files]
    assert len({one.digest for one in written}) == 1
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt", "c.safetensors"]


def test_loads_without_geomlab_and_without_running_anything(tmp_path: Path) -> None:
    write(tmp_path / "ckpt.pt", TENSORS, METADATA)
    plain = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert set(plain) == {"state_dict", "metadata"}
    assert plain["metadata"]["format"] == checkpoint.FORMAT


@pytest.mark.parametrize("key", ["state_dict", "model", "vision_encoder_state_dict"])
def test_state_dicts_as_the_field_saves_them(key: str, tmp_path: Path) -> None:
    torch.save(
        {key: {f"module.{name}": tensor for name, tensor in TENSORS.items()}, "epoch": 3}, tmp_path / "x.th"
    )
    torch.save(TENSORS, tmp_path / "bare.pt")
    assert read(tmp_path / "x.th").digest == read(tmp_path / "bare.pt").digest
    assert read(tmp_path / "x.th").architecture is None


def test_what_stands_around_the_tensors_is_taken_away_and_said(tmp_path: Path) -> None:
    compiled = {f"module._orig_mod.{name}": tensor for name, tensor in TENSORS.items()}
    torch.save({"model": {"state_dict": compiled, "epoch": 3}, "optimizer": {}}, tmp_path / "deep.pt")
    read_again = read(tmp_path / "deep.pt")
    assert read_again.within == ("model", "state_dict", "module.", "_orig_mod.")
    assert read_again.digest == checkpoint.Checkpoint(TENSORS).digest


def test_names_of_geomlab_s_own_files_are_what_they_are(tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
    write(tmp_path / "x.pt", tensors, METADATA)
    assert set(read(tmp_path / "x.pt").tensors) == set(tensors)
    assert read(tmp_path / "x.pt").within == ("state_dict",)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    before = write(path, TENSORS, METADATA)
    with pytest.raises(ValueError, match="JSON"):
        write(path, TENSORS, {"loss": float("nan")})
    assert read(path).sha256 == before.sha256
    assert [one.name for one in tmp_path.iterdir()] == ["ckpt.pt"]


def test_what_a_checkpoint_is_in_words() -> None:
    text = describe(read(checkpoint_path("ft")))
    for word in ("open_clip:custom", "glyphs", "zero, one", "ft", "recipe", "torch"):
        assert word in text
