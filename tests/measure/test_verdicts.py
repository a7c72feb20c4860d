import numpy as np
import pytest

from geomlab.measure.verdicts import falls, not_weaker, stronger_than_noise
from geomlab.stats import at_least, sign_test

N = 100


def right(*ranges: tuple[int, int]) -> np.ndarray:
    found = np.zeros(N, dtype=bool)
    for low, high in ranges:
        found[low:high] = True
    return found


def test_the_sign_test_is_exact() -> None:
    """P(X ≥ 5), X ~ B(6, ½) is (6 + 1)/64; of no pair nothing is said."""
    assert sign_test(5, 1) == pytest.approx(7 / 64)
    assert sign_test(0, 0) == 1
    assert sign_test(0, 9) == 1
    assert at_least(2, 3, 0.1) == pytest.approx(3 * 0.01 * 0.9 + 0.001)


def test_accuracy_falls_to_nothing() -> None:
    found = falls([right((0, 95)), right((0, 40)), right((0, 3)), right()])
    assert (found.word, found.p) == ("holds", 1.0)
    assert found.said == "0 of 100 are right where any image is allowed"


@pytest.mark.parametrize(
    ("left", "p", "word"), [(0, 1, "holds"), (3, 2 * 0.0794, "holds"), (4, 2 * 0.0184, "fails")]
)
def test_what_remains_is_told_from_one_in_a_hundred(left: int, p: float, word: str) -> None:
    """P(X ≥ left), X ~ B(100, 0.01), times two comparisons."""
    found = falls([right((0, 95)), right((0, left))])
    assert found.p == pytest.approx(p, rel=3e-3)
    assert found.word == word


def test_accuracy_that_rises_with_the_radius_fails() -> None:
    found = falls([right((0, 95)), right((0, 10)), right((0, 18)), right()])
    assert found.word == "fails"
    assert found.p == pytest.approx(4 / 2**8)
    assert "up to 8 are right again" in found.said
    assert falls([right((0, 95)), right((0, 10)), right((0, 12)), right()]).word == "holds"


def test_noise_must_surely_be_weaker() -> None:
    attacked = right((0, 30))
    assert stronger_than_noise({"even": right((0, 90)), "corner": right((0, 80))}, attacked).word == "holds"
    assert (
        stronger_than_noise({"even": right((0, 90)), "corner": right((0, 32))}, attacked).word == "undecided"
    )
    assert stronger_than_noise({"even": attacked, "corner": attacked}, attacked).word == "undecided"
    found = stronger_than_noise({"even": right((0, 90)), "corner": right((0, 22))}, attacked)
    assert (found.word, found.p) == ("fails", pytest.approx(2 / 2**8))
    assert "corner breaks 8 that the attack does not, the other way 0" in found.said


def test_what_must_not_be_weaker_is_told_by_pairs() -> None:
    """60 are right under both; of those that differ, 3 against 2 is chance, 20 against 2 is not."""
    weak, what = right((0, 60), (60, 62)), ["fewer steps", "the attack"]
    chance = not_weaker([weak, right((0, 60), (70, 73))], what)
    assert chance.word == "holds"
    assert chance.p == pytest.approx(0.5)
    found = not_weaker([weak, right((0, 60), (70, 90))], what)
    assert found.word == "fails"
    assert found.said == "fewer steps break 20 that the attack does not, the other way 2"
    assert not_weaker([right((0, 60)), right((0, 60)), right((0, 66))], ["a", "b", "c"]).word == "fails"
    assert not_weaker([right((0, 60)), right((0, 60)), right((0, 65))], ["a", "b", "c"]).p == 2 / 2**5
