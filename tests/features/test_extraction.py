"""Features as they are pooled, and where they lie."""

import math
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from geomlab.errors import NotFinite, UserError
from geomlab.features.extraction import POOLINGS, extract
from geomlab.features.store import FeatureStore
from geomlab.subject import FEATURES
from tests import models
from tests.models import SHAPE

SUBJECT = models.subject(models.Attention())
BATCHES = models.batches(40, 16)
LAYERS = ["embed", "block"]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_tokens_are_pooled_as_stated(pooling: str) -> None:
    found = extract(SUBJECT, BATCHES, LAYERS, pooling=pooling)
    seen = 0
    for name, activation in SUBJECT.activations(BATCHES.images, LAYERS).items():
        expected = activation.flatten(1)
        if activation.ndim == 3:
            seen += 1
            expected = {"mean": activation.mean(1), "class": activation[:, 0], "none": expected}[pooling]
        torch.testing.assert_close(found[name], expected)
    assert seen
    assert list(found) == [*LAYERS, FEATURES]


@pytest.mark.parametrize("memory", [0, 5000, 2**30])
def test_what_does_not_fit_in_memory_lies_in_files_and_is_the_same(memory: int, tmp_path: Path) -> None:
    plain = extract(SUBJECT, BATCHES, LAYERS)
    with FeatureStore(memory, tmp_path) as store:
        found = extract(SUBJECT, BATCHES, LAYERS, store=store)
        for name, rows in plain.items():
            assert found[name].dtype == rows.dtype
            assert torch.equal(found[name], rows)
        held = [path for path in tmp_path.rglob("*") if path.is_file()]
        total = sum(rows.nbytes for rows in plain.values())
        assert total - memory <= sum(path.stat().st_size for path in held) <= total
        assert bool(held) == (memory < total)
    assert not list(tmp_path.iterdir())


def test_in_half_precision_files_are_half_as_long(tmp_path: Path) -> None:
    plain = extract(SUBJECT, BATCHES, LAYERS)
    with FeatureStore(0, tmp_path, half=True) as store:
        found = extract(SUBJECT, BATCHES, LAYERS, store=store)
        for name, rows in plain.items():
            assert found[name].dtype == torch.float16
            torch.testing.assert_close(found[name].to(rows), rows, rtol=2**-11, atol=1e-7)


def test_files_are_removed_where_something_fails(tmp_path: Path) -> None:
    def stopped() -> None:
        with FeatureStore(0, tmp_path) as store:
            extract(SUBJECT, BATCHES, LAYERS, store=store)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with FeatureStore(0, tmp_path) as store, pytest.raises(UserError, match=r"GiB left in .*fewer --samples"):
        store.room(2**50, 2**10, torch.float32)
    assert not list(tmp_path.iterdir())


def test_activations_that_are_not_finite_or_overflow_half_precision_are_refused(tmp_path: Path) -> None:
    weights = {name: 1e7 * weight for name, weight in SUBJECT.weights.items()}
    huge = SUBJECT.at(weights)
    with FeatureStore(0, tmp_path, half=True) as store, pytest.raises(NotFinite, match="leave out --on-disk"):
        extract(huge, BATCHES, LAYERS, store=store)
    nowhere = SUBJECT.at(
        {name: torch.full_like(weight, torch.nan) for name, weight in SUBJECT.weights.items()}
    )
    with pytest.raises(NotFinite, match="NaN or infinite; try --dtype float64"):
        extract(nowhere, BATCHES, LAYERS)


def test_maps_are_averaged_while_the_network_runs() -> None:
    """So that those of all layers are never held at once."""
    alive: list[weakref.ref[torch.Tensor]] = []
    held: list[int] = []

    def count(_: nn.Module, __: object, output: torch.Tensor) -> None:
        alive.append(weakref.ref(output))
        held.append(sum(one() is not None for one in alive))

    maps = [nn.Conv2d(SHAPE[0], SHAPE[0], 3, padding=1) for _ in range(5)]
    subject = models.subject(nn.Sequential(*maps, nn.Flatten(), nn.Linear(math.prod(SHAPE), 2)))
    for child in subject.module.children():
        child.register_forward_hook(count)
    found = extract(subject, BATCHES, [str(i) for i in range(5)])
    of_last_batch = held[-len(list(subject.module.children())) :]
    assert of_last_batch[4] == of_last_batch[1]  # the maps of two layers, and what the batch before has left
    assert found["4"].shape == (40, SHAPE[0])


def test_a_layer_whose_rows_are_not_the_images_is_refused() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(2, SHAPE[0]), nn.Linear(SHAPE[0], 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.mean((2, 3)) + self.table(torch.arange(2)).sum(0))

    subject = models.subject(Positions())
    with pytest.raises(UserError, match=rf"layer table gives \(2, {SHAPE[0]}\) for 16 images"):
        extract(subject, BATCHES, ["table"])


def test_no_hook_stays_behind() -> None:
    extract(SUBJECT, BATCHES, LAYERS)
    wrong = replace(BATCHES, images=BATCHES.images[:, :1])
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        extract(SUBJECT, wrong, LAYERS)
    for module in SUBJECT.module.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
