from dataclasses import replace

import pytest

import geomlab
import geomlab.subject
from geomlab.architectures import Network, Preprocessing
from geomlab.data.arrays import Arrays
from geomlab.data.condition import Condition, parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.glyphs import Glyphs
from geomlab.errors import UserError
from geomlab.subject import Subject
from tests import factories

SPECS = [
    "clean",
    "fgsm:eps=8/255",
    "pgd:eps=8/255,steps=3",
    "domain:sketch",
    "corruption:gaussian_noise,severity=2",
]


@pytest.fixture(scope="module")
def subject() -> Subject:
    loaded: Subject = geomlab.load(checkpoint_path("ft"))
    return loaded


def conditions(*specs: str, n: int = 30, seed: int = 0, batch_size: int = 30) -> tuple[Condition, ...]:
    return parse_conditions(specs, Glyphs(), n=n, seed=seed, batch_size=batch_size)


def test_names_are_short_where_they_are_unique() -> None:
    assert [c.name for c in conditions(*SPECS)] == [
        "clean",
        "fgsm",
        "pgd",
        "domain:sketch",
        "corruption:gaussian_noise",
    ]
    assert [c.name for c in conditions("pgd:eps=1/255", "pgd:eps=2/255")] == [
        "pgd:eps=1/255",
        "pgd:eps=2/255",
    ]
    assert [c.kind for c in conditions(*SPECS)] == [
        "clean",
        "adversarial",
        "adversarial",
        "domain",
        "corruption",
    ]


@pytest.mark.parametrize("spec", SPECS)
def test_realised_inputs_are_fixed_paired_and_known_by_their_digest(spec: str, subject: Subject) -> None:
    (condition,) = conditions(spec)
    one, again = condition.realise(subject), condition.realise(subject)
    assert one.digest == again.digest
    assert one.paired
    assert len(one) == 30
    (clean,) = conditions("clean")
    assert one.on_clean().digest == clean.realise(subject).digest
    (other,) = conditions(spec, seed=1)
    assert other.realise(subject).digest != one.digest


@pytest.mark.parametrize("spec", SPECS)
def test_the_batch_size_does_not_change_the_inputs(spec: str, subject: Subject) -> None:
    whole, split = (conditions(spec, batch_size=size)[0].realise(subject) for size in (30, 7))
    assert float((whole.images - split.images).abs().max()) < 0.1 / 255 or "eps" in spec
    # A gradient of almost zero may turn its sign with rounding: few pixels, never the labels.
    assert float(((whole.images - split.images).abs() > 1e-6).float().mean()) < 0.01
    assert [len(labels) for _, labels in split] == [7, 7, 7, 7, 2]


def test_arrays_are_paired_where_their_labels_agree() -> None:
    source = Arrays("tests.factories:shifted", factories.shifted())
    assert source.domains == ("clean", "dark", "other")
    assert set(source.index("dark").ids) == set(source.index("clean").ids)
    assert not set(source.index("other").ids) & set(source.index("clean").ids)


def test_names_of_fewer_classes_than_the_head_has_are_refused(subject: Subject) -> None:
    source = Glyphs()
    source.classes = None
    (condition,) = parse_conditions(["clean"], source, n=20, seed=0, batch_size=8)
    with pytest.raises(UserError, match="ft has a head of 10 classes and the names of 1"):
        condition.realise(replace(subject, classes=("zero",)))


@pytest.mark.parametrize("classes", [tuple(sorted(Glyphs.classes)), Glyphs.classes[:9], ("a",) * 10])
def test_data_that_numbers_its_classes_otherwise_is_refused(
    classes: tuple[str, ...], subject: Subject
) -> None:
    source = Glyphs()
    source.classes = classes
    (condition,) = parse_conditions(["clean"], source, n=30, seed=0, batch_size=30)
    with pytest.raises(UserError, match="its classes are not those of ft"):
        condition.realise(subject)


def test_samples_are_known_by_what_they_are(subject: Subject) -> None:
    """Not by their labels: those agree between two choices from data that are sorted by class."""
    source = Arrays("x", factories.shifted())
    specs = ["clean", "domain:dark", "fgsm", "domain:other"]

    def samples(seed: int) -> list[str]:
        chosen = parse_conditions(specs, source, n=12, seed=seed, batch_size=8)
        network = geomlab.subject.from_network(Network(factories.model(), Preprocessing()))
        return [condition.realise(network).samples for condition in chosen]

    clean, dark, attacked, other = samples(0)
    assert clean == dark == attacked != other
    assert samples(0)[0] == clean
    assert samples(1)[0] != clean
