from pathlib import Path

import torch

from geomlab import checkpoint
from geomlab.data import embedded
from grace import loop
from grace.recipe import compose


def test_it_gives_the_model_back(tmp_path: Path) -> None:
    start = checkpoint.read(embedded.checkpoint_path("zero-shot"))
    written = loop.train(compose("zero-shot"), tmp_path)
    assert set(written.tensors) - set(start.tensors) == {"head.weight"}
    assert all(torch.equal(tensor, written.tensors[name]) for name, tensor in start.tensors.items())


def test_a_trained_head_is_not_zero_shot(tmp_path: Path) -> None:
    tuned = checkpoint.read(embedded.checkpoint_path("ft"))
    head = loop.train(compose("zero-shot"), tmp_path / "a", initial="embedded:ft").tensors["head.weight"]
    of_start = loop.train(compose("zero-shot"), tmp_path / "b", initial="embedded:zero-shot")
    assert (head - tuned.tensors["head.weight"]).norm() > 0.1
    torch.testing.assert_close(head, of_start.tensors["head.weight"])  # one text tower
