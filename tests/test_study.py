"""A study looks before it computes, and keeps no more inputs than it needs."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

import geomlab
from geomlab import realised
from geomlab.data.arrays import Arrays
from geomlab.data.batches import Batches
from geomlab.data.condition import Condition, parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.measure import FeatureGeometry, Sanity
from geomlab.measure.forecast import forecast
from geomlab.study import Study
from geomlab.subject import Subject
from tests import models

pytestmark = pytest.mark.usefixtures("undrawn")


CONDITIONS = ["clean", "pgd", "fgsm", "domain:dark", "domain:other"]


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[tuple[weakref.ref[Batches], int]]:
    """Each of the inputs that are made, and how many of different ones there are then."""
    made: list[tuple[weakref.ref[Batches], int]] = []
    realise = Condition.realise

    def counted(condition: Condition, subject: Subject, clean: Batches | None = None) -> Batches:
        one = realise(condition, subject, clean)
        gc.collect()
        there = {id(batches) for ref, _ in made if (batches := ref()) is not None}
        made.append((weakref.ref(one), len(there | {id(one)})))
        return one

    monkeypatch.setattr(Condition, "realise", counted)
    return made


def analyzed(weights: Path, out: Path, *measures: str) -> geomlab.Results:
    return geomlab.analyze(
        weights,
        model="tests.factories:model",
        data="tests.factories:shifted",
        conditions=CONDITIONS,
        measures=measures,
        out=out,
    )


def test_inputs_of_two_conditions_are_in_memory_where_there_is_room_for_no_more(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alive: list[tuple[weakref.ref[Batches], int]],
) -> None:
    """The clean ones and those of one other condition, however many there are."""
    monkeypatch.setattr(realised, "HELD", 1)
    analyzed(weights, tmp_path / "out", "accuracy")
    assert len(alive) == 3 + 5  # the attacks are made once, when they are measured
    assert max(most for _, most in alive) == 2


def test_inputs_are_made_once_for_all_measures_where_there_is_room(
    weights: Path, tmp_path: Path, alive: list[tuple[weakref.ref[Batches], int]]
) -> None:
    analyzed(weights, tmp_path / "out", "accuracy", "features")
    assert len(alive) == 3 + 5


class Side(nn.Module):
    """A layer that is there, and a head; what the layer gives is up to the test."""

    def __init__(self, axes: int | None) -> None:
        super().__init__()
        self.axes = axes
        self.side = nn.Identity()
        self.head = nn.Linear(72, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.axes is not None:
            self.side(images.flatten(1).reshape(len(images), *[1] * (self.axes - 1), 72))
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits


@pytest.mark.parametrize("of", ["subject", "reference"])
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (None, r"layers \['side'\].* gave no tensor"),
        (4, r"layer side gives \(2, 1, 1, 1, 72\) for 2 images; expected"),
    ],
)
def test_layers_that_cannot_be_looked_at_are_said_before_anything_is_computed(
    of: str, axes: int | None, message: str
) -> None:
    inputs, whole, odd = models.batches(), models.subject(Side(1)), models.subject(Side(axes))
    data = Arrays("mine:data", (inputs.images, inputs.labels))
    conditions = parse_conditions(["clean"], data, n=11, seed=0, batch_size=4)
    network, reference = (odd, whole) if of == "subject" else (whole, odd)
    geometry = FeatureGeometry(reference, layers="side")
    with pytest.raises(UserError, match=message):
        Study(network, reference.digest, conditions, (geometry,), 0).check()
    Study(whole, whole.digest, conditions, (FeatureGeometry(whole, layers="side"),), 0).check()


@pytest.mark.parametrize("of", ["subject", "reference"])
def test_a_network_or_a_reference_that_sees_the_batch_is_refused(of: str) -> None:
    inputs, whole = models.batches(), models.subject(Side(1))
    odd = models.subject(nn.Sequential(nn.BatchNorm2d(models.SHAPE[0], track_running_stats=False), Side(1)))
    data = Arrays("mine:data", (inputs.images, inputs.labels))
    conditions = parse_conditions(["clean"], data, n=11, seed=0, batch_size=4)
    network, reference = (odd, whole) if of == "subject" else (whole, odd)
    with pytest.raises(UserError, match="each image its own logits"):
        Study(network, reference.digest, conditions, (FeatureGeometry(reference, layers="side"),), 0).check()


def test_attacks_are_checked_under_attack_alone_and_forecast(weights: Path, tmp_path: Path) -> None:
    results = geomlab.analyze(
        weights,
        model="tests.factories:model",
        data="tests.factories:shifted",
        conditions=["clean", "fgsm", "domain:dark"],
        measures=["sanity"],
        samples=20,
        out=tmp_path / "out",
    )
    assert results["sanity"]["condition"].values.tolist() == ["fgsm"]
    assert set(results["sanity"]["verdict"].values.ravel()) <= {"holds", "fails", "undecided", "not tested"}
    assert (tmp_path / "out" / "tables" / "sanity.csv").exists()


def test_a_check_of_an_attack_takes_as_many_passes_as_its_runs() -> None:
    subject = geomlab.load(checkpoint_path("ft"))
    conditions = parse_conditions(["clean", "pgd:steps=4"], open_source("glyphs"), n=20, seed=0, batch_size=8)
    (cell,) = Study(subject, None, conditions, (Sanity(10),), 0).cells
    assert cell.where == "pgd"
    runs = 4 * (1 + 3 * 4 + 1) + (1 + 3 * 1 + 1) + (1 + 3 * 16 + 1)
    assert cell.times == 10 * (runs + 2 + 1000)
    batches = conditions[0].realise(subject)
    found = forecast(Sanity(10), subject, batches)
    assert found.usual == found.most > 0
