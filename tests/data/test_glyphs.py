import numpy as np
import pytest

from geomlab import params
from geomlab.data import glyphs
from geomlab.data.glyphs import Glyphs
from geomlab.data.source import balanced_subset
from geomlab.errors import UserError


def test_no_digit_is_in_both_splits_in_any_domain() -> None:
    train, test = Glyphs("train"), Glyphs("test")
    for domain in train.domains:
        a, b = set(train.index(domain).ids), set(test.index(domain).ids)
        assert (len(a), len(b), len(a & b)) == (1200, 597, 0)
        assert set(train.index(domain).ids) == set(train.index("photo").ids)


@pytest.mark.parametrize("domain", Glyphs.domains)
def test_images_are_in_range_fixed_and_of_their_own_kind(domain: str) -> None:
    rows = np.arange(50)
    images = Glyphs("test").images(domain, rows, None)
    assert images.shape == (50, 3, 16, 16)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    glyphs._domain.cache_clear()
    assert params.digest({"x": Glyphs("test").images(domain, rows, None)}) == params.digest({"x": images})
    others = [Glyphs("test").images(other, rows, None) for other in Glyphs.domains if other != domain]
    assert min(float((images - other).abs().mean()) for other in others) > 0.03


def test_other_sizes_are_resized() -> None:
    assert Glyphs("all").images("photo", np.array([0]), 32).shape == (1, 3, 32, 32)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UserError, match="train, test and all"):
        Glyphs("half")


def test_subsets_are_balanced_fixed_and_nested() -> None:
    labels = np.repeat(np.arange(3), [50, 30, 20])
    small, large = balanced_subset(labels, 9, 0), balanced_subset(labels, 30, 0)
    assert np.bincount(labels[small]).tolist() == [3, 3, 3]
    assert np.bincount(labels[large]).tolist() == [10, 10, 10]
    assert set(small) <= set(large)
    assert np.array_equal(small, balanced_subset(labels, 9, 0))
    assert not np.array_equal(small, balanced_subset(labels, 9, 1))
    assert balanced_subset(labels, 10**6, 0).tolist() == list(range(100))
    assert (np.diff(large) > 0).all()  # sorted, none twice
