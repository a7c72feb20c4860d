"""Names of shards as a pattern: `train-{000..010}.tar`, `{train,val}.tar`."""

import re
from itertools import product

from geomlab.errors import UserError

_MOST = 100_000  # ours: LAION-5B has 231,000 shards in all
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")


def expanded(pattern: str) -> list[str]:
    """All names of a pattern, in order: braces hold a range of numbers, as long as its first one, or alternatives.

    Raises:
        UserError: if braces hold neither, do not close or lie in each other, or there are too many names.
    """
    parts = _BRACES.split(pattern)
    if any(sign in part for part in parts[::2] for sign in "{}"):
        raise UserError(f"'{pattern}': braces that do not close, or lie in each other")
    choices, count = [], 1
    for i, part in enumerate(parts):
        found = _choices(pattern, part) if i % 2 else [part]
        count *= len(found)
        if count > _MOST:
            raise UserError(f"'{pattern}': more than {_MOST:,} shards; name fewer")
        choices.append(found)
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(pattern: str, inside: str) -> list[str]:
    found = _RANGE.fullmatch(inside)
    if found:
        first, last = int(found[1]), int(found[2])
        if last - first >= _MOST:
            raise UserError(f"'{pattern}': more than {_MOST:,} shards; name fewer")
        if last >= first:
            return [str(number).zfill(len(found[1])) for number in range(first, last + 1)]
    elif "," in inside:
        return inside.split(",")
    raise UserError(f"'{pattern}': {{{inside}}} is neither a range, {{000..010}}, nor alternatives, {{a,b}}")
