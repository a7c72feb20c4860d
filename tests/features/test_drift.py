import pytest
import torch

from geomlab.features.drift import gram_drift_of_classes, gram_drift_of_samples
from geomlab.features.similarity import gram_drift
from tests.features.pairs import pair, rotation


def gram(x: torch.Tensor) -> torch.Tensor:
    k = (x - x.mean(0)) @ (x - x.mean(0)).T
    return k / k.trace()


@pytest.mark.parametrize(("n", "d"), [(40, 7), (10, 30), (20, 15)])
def test_samples_agree_with_the_rows_of_the_gram_matrices(n: int, d: int) -> None:
    x, y = pair(n, d)
    k, k0 = gram(x), gram(y)
    found = gram_drift_of_samples(x, y)
    assert torch.allclose(found, (k - k0).norm(dim=1) / k0.norm(), rtol=1e-10, atol=1e-14)
    assert float(found.square().sum().sqrt()) == pytest.approx(float(gram_drift(x, y)))


def test_samples_that_have_not_moved_have_no_drift() -> None:
    """To fp64's rounding, 1e-15, and not to its root: no difference of squares is taken."""
    x, _ = pair()
    moved = 3 * x @ rotation(7) + 5
    assert float(gram_drift_of_samples(moved, x).max()) < 1e-14


def test_the_sample_that_moved_is_found() -> None:
    x, _ = pair()
    moved = x.clone()
    moved[13] += 0.5
    found = gram_drift_of_samples(moved, x)
    assert int(found.argmax()) == 13
    assert float(found[13]) > 3 * float(found.median())


def test_samples_are_invariant_to_rotation_translation_and_scale() -> None:
    x, y = pair()
    assert torch.allclose(gram_drift_of_samples(0.1 * x @ rotation(7) - 3, y), gram_drift_of_samples(x, y))


def test_samples_at_an_offset_in_fp32() -> None:
    x, y = pair()
    found = gram_drift_of_samples((x + 1000).float(), (y + 1000).float())
    assert torch.allclose(found, gram_drift_of_samples(x, y), rtol=1e-2, atol=1e-4)


def test_only_the_class_that_was_bent_has_drift() -> None:
    x, _ = pair()
    labels = torch.arange(40) % 4
    bent = x.clone()
    bent[labels == 2, 0] *= 3
    bent[labels == 1] = 2 * bent[labels == 1] @ rotation(7) - 4  # moved as a whole
    found = gram_drift_of_classes(bent, x, labels, 4)
    assert found.tolist() == pytest.approx(
        [0, 0, float(gram_drift(bent[labels == 2], x[labels == 2])), 0], abs=1e-6
    )
    k, k0 = gram(bent[labels == 2]), gram(x[labels == 2])
    assert float(found[2]) == pytest.approx(float((k - k0).norm() / k0.norm()))


def test_classes_too_small_or_constant_are_undefined() -> None:
    x, y = pair(12, 3)
    labels = torch.tensor([0] * 5 + [1] * 2 + [3] * 5)
    x[labels == 3] = 0.1
    found = gram_drift_of_classes(x, y, labels, 5)
    assert found.isnan().tolist() == [False, True, True, True, True]
    assert bool(gram_drift_of_samples(torch.full_like(x, 0.1), y).isnan().all())


def test_too_few_or_different_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="the same n >= 3 samples"):
        gram_drift_of_samples(torch.ones(2, 2).double(), torch.ones(2, 2).double())
    with pytest.raises(ValueError, match="the same n >= 1 samples"):
        gram_drift_of_classes(torch.ones(4, 2).double(), torch.ones(5, 2).double(), torch.zeros(4).long(), 1)
