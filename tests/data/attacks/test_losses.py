import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomlab.data.attacks import losses
from geomlab.data.attacks.goal import others, targets_of
from geomlab.rng import generator

LOGITS = torch.randn((40, 6), generator=generator(0, "logits"), dtype=torch.float64)
LABELS = torch.arange(40) % 6
TARGETS = (LABELS + 1 + torch.arange(40) % 5) % 6


def naive_dlr(z: list[float], y: int, t: int | None = None) -> float:
    """Equations 6 and 7 of Croce & Hein, word by word."""
    s = sorted(z, reverse=True)
    if t is None:
        return -(z[y] - max(v for i, v in enumerate(z) if i != y)) / (s[0] - s[2])
    return -(z[y] - z[t]) / (s[0] - (s[2] + s[3]) / 2)


def test_dlr_is_its_formula() -> None:
    found, targeted = losses.dlr(LOGITS, LABELS), losses.targeted_dlr(LOGITS, LABELS, TARGETS)
    for i, (z, y, t) in enumerate(zip(LOGITS.tolist(), LABELS.tolist(), TARGETS.tolist(), strict=True)):
        assert float(found[i]) == pytest.approx(naive_dlr(z, y))
        assert float(targeted[i]) == pytest.approx(naive_dlr(z, y, t))


@given(scale=st.floats(1e-2, 1e2), shift=st.floats(-10, 10))
def test_dlr_changes_with_neither_shift_nor_scale(scale: float, shift: float) -> None:
    moved = scale * LOGITS + shift
    torch.testing.assert_close(losses.dlr(moved, LABELS), losses.dlr(LOGITS, LABELS))
    torch.testing.assert_close(
        losses.targeted_dlr(moved, LABELS, TARGETS), losses.targeted_dlr(LOGITS, LABELS, TARGETS)
    )


def test_dlr_is_positive_exactly_where_it_is_misclassified() -> None:
    wrong = LOGITS.argmax(1) != LABELS
    assert torch.equal(losses.dlr(LOGITS, LABELS) > 0, wrong)


def test_equal_logits_give_zero_and_a_finite_gradient() -> None:
    for loss, given_ in ((losses.dlr, (LABELS,)), (losses.targeted_dlr, (LABELS, TARGETS))):
        z = torch.zeros_like(LOGITS, requires_grad=True)
        value = loss(z, *given_)
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert float(value.detach().abs().max()) == 0
        assert bool(torch.isfinite(slope).all())


def test_cross_entropies_and_distances_are_their_formulas() -> None:
    p = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
    rows = torch.arange(40)
    torch.testing.assert_close(losses.cross_entropy(LOGITS, LABELS), -p[rows, LABELS].log())
    torch.testing.assert_close(losses.targeted_cross_entropy(LOGITS, LABELS, TARGETS), p[rows, TARGETS].log())
    expected = torch.stack([(a - b) @ (a - b) for a, b in zip(LOGITS, LOGITS.flip(0), strict=True)])
    torch.testing.assert_close(losses.squared_distances(LOGITS, LOGITS.flip(0)), expected)


def test_targets_are_never_the_label() -> None:
    for i, found in enumerate(others(LOGITS, LABELS).tolist()):
        z = LOGITS[i].tolist()
        assert found == sorted((c for c in range(6) if c != int(LABELS[i])), key=lambda c: -z[c])
    ranked = others(LOGITS, LABELS)
    assert torch.equal(targets_of("next", LOGITS, LABELS), ranked[:, 0])
    assert torch.equal(targets_of("least", LOGITS, LABELS), ranked[:, -1])
    assert set(targets_of(3, LOGITS, LABELS).tolist()) == {3}
