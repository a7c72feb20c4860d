"""Readers of others' files end in a UserError or in what they read, whatever is in the file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"
TEXTS = st.one_of(
    st.binary(max_size=200), st.text(r"pgd:eps=4/255,\corn0-e.[]{}'\"", max_size=60).map(str.encode)
)


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> bytes:
    """A good file of which bytes are changed, cut out or repeated; or any bytes at all."""
    content = draw(st.one_of(st.sampled_from(seeds.of(name)), TEXTS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        until = draw(st.integers(at, min(len(content), at + 40)))
        put = draw(st.one_of(st.binary(max_size=8), st.just(content[at:until] * 2), st.just(b"\xff" * 8)))
        content = content[:at] + put + content[until:]
    return content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_read(name: str) -> None:
    for content in seeds.of(name):
        TARGETS[name](content)


@pytest.mark.filterwarnings("ignore")  # a damaged file may make its library warn
@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_spoilt_files_are_refused_or_read(name: str, data: st.DataObject) -> None:
    run(name, data.draw(spoilt(name)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path", sorted(CORPUS.rglob("*.bin")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_what_was_found_once(path: Path) -> None:
    run(path.parent.name, path.read_bytes())
