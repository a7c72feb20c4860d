from collections.abc import Callable

import pytest

from grace.bench import apgd, judge
from grace.bench.plan import Request
from grace.bench.variants import parse

TINY = ("optimisation.max_steps=3", "optimisation.batch_size=32", "optimisation.warmup=1", "attack.steps=1")


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks that take little time, for tests of what is around them."""
    monkeypatch.setattr(judge, "PGD_STEPS", 1)
    monkeypatch.setattr(apgd, "apgd", lambda network, images, labels, **_: images)


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """Methods and changes -> a request of tiny runs with one seed."""

    def make(methods: str, *settings: str, **changes: object) -> Request:
        chosen = parse([methods])
        uses_attack = "grace" in methods
        given = (*(TINY if uses_attack else TINY[:3]), *settings)
        return Request(chosen, **{"seeds": 1, "samples": 20, "settings": given} | changes)  # type: ignore[arg-type]

    return make
