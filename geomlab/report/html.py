"""The HTML report: one file that needs no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from geomlab.tables import Table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    """An interactive figure and what it means.

    Attributes:
        name: short, unique in the page.
        title: a few words.
        caption: what one sees and how to read it, with n.
        figure: plotly's.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        pictures: shown first.
        tables: file name -> table, shown below, each with its CSV to save.
    """

    title: str
    pictures: Sequence[Picture] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """All that a report says.

    Attributes:
        title: of the page.
        subtitle: a line below it.
        facts: what was analysed: name -> value.
        warnings: shown on top.
        summary: sentences.
        sections: in order.
    """

    title: str
    subtitle: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    summary: Sequence[str]
    sections: Sequence[Section]


def to_html(page: Page, light: go.layout.Template, dark: go.layout.Template) -> str:
    """The page as one HTML document with plotly inside.

    Args:
        page: what to show; all its text is escaped.
        light: plotly's template on a light page.
        dark: the same on a dark page.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html.jinja").render(
        page=page,
        style=_inside("report.css", "style"),
        script=_inside("report.js", "script"),
        plotly=_verbatim(get_plotlyjs(), "script"),
        templates=_json({"light": light.to_plotly_json(), "dark": dark.to_plotly_json()}),
        figures=_json({p.name: _bare(p.figure) for section in page.sections for p in section.pictures}),
    )


def _bare(figure: go.Figure) -> dict[str, Any]:
    """A figure as JSON without its template, which the page gives it."""
    content: dict[str, Any] = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return content


def _json(content: Any) -> Markup:
    """JSON inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _inside(name: str, element: str) -> Markup:
    return _verbatim((HERE / name).read_text(encoding="utf-8"), element)


def _verbatim(text: str, element: str) -> Markup:
    """Our own or plotly's code, which must not end its element early."""
    if f"</{element}" in text.lower():
        raise ValueError(f"code for <{element}> holds </{element}; it cannot be put into the page")
    return Markup(text)


def _data_uri(text: str) -> str:
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()
