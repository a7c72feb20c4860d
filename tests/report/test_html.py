import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from geomlab.plots import style
from geomlab.report import html
from geomlab.report.html import Page, Picture, Section, to_html
from geomlab.tables import Cell, Table

HOSTILE = '<script>alert("x")</script>&\'"'


class Reader(HTMLParser):
    """Collects elements with their attributes, the text outside scripts, and what the scripts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text.append(data)


def page(name: str = "net", figure: go.Figure | None = None) -> Page:
    figure = figure or go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=name))
    table = Table(name, (name, "loss"), ((name, Cell(1.0, 0.1, 30)),), name)
    section = Section(name, [Picture("fig", name, name, figure)], {"numbers": table})
    return Page(name, name, {"Checkpoint": name}, [name], [name], [section])


def read(content: Page) -> tuple[str, Reader]:
    text = to_html(content, style.template(), style.template(dark=True))
    reader = Reader()
    reader.feed(text)
    return text, reader


@pytest.fixture(scope="module")
def hostile() -> tuple[str, Reader]:
    return read(page(HOSTILE))


def test_a_hostile_name_stays_text(hostile: tuple[str, Reader]) -> None:
    text, reader = hostile
    assert HOSTILE not in text
    assert HOSTILE in "".join(reader.text)
    assert len(reader.scripts) == 4
    assert not any(script.startswith("alert") for script in reader.scripts)
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)


def test_data_of_figures_is_json_that_ends_no_element(hostile: tuple[str, Reader]) -> None:
    _, reader = hostile
    figures, templates = (json.loads(script) for script in reader.scripts[:2])
    assert figures["fig"]["data"][0]["name"] == HOSTILE
    assert "template" not in figures["fig"]["layout"]
    assert templates.keys() == {"light", "dark"}


def test_nothing_is_fetched(hostile: tuple[str, Reader]) -> None:
    text, reader = hostile
    for _, attributes in reader.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    own = text.replace(html.get_plotlyjs(), "")
    assert not re.search(r"https?://", own)
    assert "@import" not in own
    assert "default-src 'none'" in text
    assert "connect-src 'none'" in text


def test_plotly_is_inside_once_and_the_file_is_small(hostile: tuple[str, Reader]) -> None:
    text, _ = hostile
    assert text.count(html.get_plotlyjs()) == 1
    assert len(text.encode()) < 8_000_000


def test_headings_are_in_order_and_figures_are_described(hostile: tuple[str, Reader]) -> None:
    _, reader = hostile
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    plots = [attributes for _, attributes in reader.elements if attributes.get("class") == "plot"]
    assert plots
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [
        attributes["href"][1:]
        for tag, attributes in reader.elements
        if tag == "a" and (attributes["href"] or "")[0] == "#"
    ]  # type: ignore[index]
    assert set(targets) <= set(ids)


def test_tables_can_be_saved_as_csv(hostile: tuple[str, Reader]) -> None:
    _, reader = hostile
    (link,) = [attributes for _, attributes in reader.elements if "download" in attributes]
    assert link["download"] == "numbers.csv"
    assert (link["href"] or "").startswith("data:text/csv;charset=utf-8;base64,")


def test_code_that_would_end_its_element_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "get_plotlyjs", lambda: "x = '</script>'")
    with pytest.raises(ValueError, match="cannot be put into the page"):
        read(page())


def test_a_page_without_results_says_so() -> None:
    _, reader = read(Page("net", "", {}, [], [], []))
    assert "Nothing has been measured yet." in reader.text
