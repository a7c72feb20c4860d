"""What must be so where an attack's gradients are not masked, from which samples are classified rightly.

The checks are those of Carlini et al. 2019 (1902.06705, section 5) and Athalye et al. 2018 (1802.00420, section 3.1).
Tests are exact, one-sided and paired, at 5 % a check, shared by its comparisons (Bonferroni): ours, so that chance
fails a check of a sound attack in at most one of twenty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geomlab.stats import at_least, sign_test

Right = NDArray[np.bool_]
Word = Literal["holds", "fails", "undecided", "not tested"]

LEVEL = 0.05  # of a check: ours
REMAINS = 0.01  # accuracy that may be left by an attack that may do anything: ours
FEWEST = 10  # clean samples that must be right: of fewer, a difference is hardly ever told from chance; ours


@dataclass(frozen=True)
class Verdict:
    """What a check says.

    Attributes:
        word: `holds`, `fails`, `undecided` or `not tested`.
        said: the numbers behind it, or why there are none.
        p: of the comparison that speaks most against it, times their number; NaN where there is none.
    """

    word: Word
    said: str
    p: float = float("nan")


def falls(right: Sequence[Right]) -> Verdict:
    """Accuracy falls with the radius, to nothing where the attack may go anywhere in [0, 1].

    Args:
        right: (n,) whether each sample is right, by radius; the first clean, the last without limit.
    """
    n, left = len(right[-1]), int(right[-1].sum())
    pairs = list(pairwise(right))
    rises = min((sign_test(*_apart(far, near)) for near, far in pairs), default=1.0)
    remains = at_least(left, n, REMAINS)
    p = min(1.0, (len(pairs) + 1) * min(rises, remains))
    said = f"{left} of {n} are right where any image is allowed"
    if rises < remains:
        worst = max(int((far & ~near).sum()) for near, far in pairs)
        said += f"; up to {worst} are right again at the next larger radius"
    return Verdict("fails" if p < LEVEL else "holds", said, p)


def stronger_than_noise(noise: Mapping[str, Right], attacked: Right) -> Verdict:
    """Random noise of the radius breaks less than the attack; undecided where it is not told that it does.

    Args:
        noise: kind of noise -> (n,) whether each sample is right.
        attacked: the same under the attack.
    """
    counts = [
        _apart(attacked, one) for one in noise.values()
    ]  # what noise alone breaks, and what the attack alone
    p = min(1.0, len(counts) * min(sign_test(noisy, attack) for noisy, attack in counts))
    surely = all(sign_test(attack, noisy) < LEVEL for noisy, attack in counts)
    said = "; ".join(
        f"{name} breaks {noisy} that the attack does not, the other way {attack}"
        for name, (noisy, attack) in zip(noise, counts, strict=True)
    )
    return Verdict("fails" if p < LEVEL else "holds" if surely else "undecided", said, p)


def not_weaker(right: Sequence[Right], what: Sequence[str]) -> Verdict:
    """Each breaks no less than the one before it.

    Args:
        right: (n,) whether each sample is right, the weakest that was expected first.
        what: names of them.
    """
    counts = [_apart(strong, weak) for weak, strong in pairwise(right)]
    p = min(1.0, len(counts) * min(sign_test(lost, gained) for lost, gained in counts))
    parts = [
        f"{what[i]} break{'s' if what[i].startswith('the') else ''} {lost} that {what[i + 1]} "
        f"do{'es' if what[i + 1].startswith('the') else ''} not, the other way {gained}"
        for i, (lost, gained) in enumerate(counts)
    ]
    return Verdict("fails" if p < LEVEL else "holds", "; ".join(parts), p)


def _apart(a: Right, b: Right) -> tuple[int, int]:
    """How many are right in `a` alone, and in `b` alone."""
    return int((a & ~b).sum()), int((b & ~a).sum())
