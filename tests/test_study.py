"""A study keeps no more inputs than it needs."""

import gc
import weakref
from pathlib import Path

import pytest

import geomlab
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition
from geomlab.subject import Subject

pytestmark = pytest.mark.usefixtures("undrawn")


def test_inputs_of_two_conditions_at_most_are_in_memory(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clean ones and those of one other condition, however many there are."""
    alive: list[weakref.ref[Batches]] = []
    most = 0
    realise = Condition.realise

    def counted(condition: Condition, subject: Subject, clean: Batches | None = None) -> Batches:
        nonlocal most
        made = realise(condition, subject, clean)
        alive.append(weakref.ref(made))
        gc.collect()
        most = max(most, len({id(batches) for ref in alive if (batches := ref()) is not None}))
        return made

    monkeypatch.setattr(Condition, "realise", counted)
    geomlab.analyze(
        weights,
        model="tests.factories:model",
        data="tests.factories:shifted",
        conditions=["clean", "pgd", "fgsm", "domain:dark", "domain:other"],
        measures=["accuracy"],
        out=tmp_path / "out",
    )
    assert len(alive) == 3 + 5  # the attacks are made once, when they are measured
    assert most == 2
