from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import models


@given(n=st.integers(1, 12), world=st.integers(1, 12))
def test_shares_are_even_and_make_up_the_whole_in_order(n: int, world: int) -> None:
    whole = models.batches(n)
    if world > n:
        with pytest.raises(ValueError, match=f"<= {n} samples"):
            whole.share(0, world)
        return
    shares = [whole.share(rank, world) for rank in range(world)]
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    for field in ("images", "labels", "clean", "clean_labels"):
        parts = torch.cat([getattr(share, field) for share in shares])
        assert torch.equal(parts, getattr(whole, field))


def test_clean_images_that_are_others_are_shared_as_well() -> None:
    batches = models.batches(5)
    other = replace(
        batches, clean=batches.images[:3], clean_labels=batches.labels[:3], paired=False, samples="x"
    )
    shares = [other.share(rank, 2) for rank in (0, 1)]
    assert [(len(s), len(s.clean), len(s.clean_labels), s.samples) for s in shares] == [
        (2, 1, 1, ""),
        (3, 2, 2, ""),
    ]


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(rank: int, world: int) -> None:
    with pytest.raises(ValueError, match=f"got {rank} of {world}"):
        models.batches().share(rank, world)
