"""Writing what a folder of results shows: for each checkpoint, and for all of them side by side."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomlab.plots import style
from geomlab.progress import Bar, bar
from geomlab.render.catalog import KINDS, about, pictures
from geomlab.render.compare import comparison_tables, describe_comparison, differing_settings
from geomlab.report import (
    bound_tables,
    curvature_tables,
    feature_tables,
    landscape_tables,
    path_tables,
    sanity_tables,
)
from geomlab.report.cells import gather_warnings
from geomlab.report.html import Page, Picture, Section, to_html
from geomlab.report.summary import summarise
from geomlab.report.tabulate import tabulate
from geomlab.report.words import describe
from geomlab.results import Cells, Results
from geomlab.results.store import stores, write_bytes, write_text
from geomlab.tables import Table

SECTIONS = {
    "Comparison": ("differences", "ratios"),
    "Accuracy": ("accuracy", *sanity_tables.TABLES),
    "Curvature": tuple(curvature_tables.TABLES),
    "Loss landscape": ("slices_differences", *landscape_tables.TABLES, *path_tables.TABLES),
    "Features": ("features_differences", "features_across", *feature_tables.TABLES),
    "Drift": ("drift",),
    "Bound": tuple(bound_tables.TABLES),
}
# Every table and figure that may be written, by its path within the folder.
DRAWN = frozenset(
    [
        *(
            f"tables/{name}.{suffix}"
            for names in SECTIONS.values()
            for name in names
            for suffix in ("csv", "tex")
        ),
        *(f"figures/{kind.name}.{suffix}" for kind in KINDS for suffix in ("pdf", "png")),
    ]
)


@dataclass(frozen=True)
class Rendered:
    """The files that were written.

    Attributes:
        folder: where to.
        summary: `summary.json`; None where checkpoints are compared.
        report: `report.html`.
        tables: CSV and LaTeX.
        figures: PDF and PNG.
        parts: of a folder of several checkpoints, each checkpoint's own files.
    """

    folder: Path
    summary: Path | None
    report: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    parts: tuple["Rendered", ...] = ()


def render(folder: Path | str, progress: Bar | None = None, cells: Cells | None = None) -> Rendered:
    """Draw everything of a folder anew, from its store alone.

    Args:
        folder: of one checkpoint, or of several; then each is drawn, and `compare/` beside them.
        progress: a bar that runs already, advanced by `drawings(checkpoints)`; by default one of its own.
        cells: what reads them; by default one of its own.

    Returns:
        What was written; of several checkpoints, the comparison with each checkpoint's files as its parts.

    Raises:
        UserError: if there are no results, or the folder cannot be written.
    """
    root, cells = Path(folder), cells or Cells()
    found = [store.folder for store in stores(root)]
    with nullcontext(progress) if progress else bar(drawings(len(found)), "drawing") as shown:
        parts = []
        for one in found:
            shown.step(f"drawing · {one.name}")
            parts.append(_render_one(cells.open(one)))
            shown.advance()
        if len(parts) == 1:
            return parts[0]
        shown.step("drawing · comparison")
        whole = render_comparison(cells.open(root), root / "compare", tuple(parts))
        shown.advance()
    return whole


def drawings(checkpoints: int) -> int:
    """How many steps `render` takes."""
    return checkpoints + (checkpoints > 1)


def render_comparison(results: Results, folder: Path, parts: tuple[Rendered, ...] = ()) -> Rendered:
    """Draw several checkpoints side by side.

    Args:
        results: of at least two checkpoints; the first is what the others are compared with.
        folder: to write into.
        parts: each checkpoint's own files, if they were drawn too.

    Raises:
        UserError: if the folder cannot be written.
    """
    tables = {**comparison_tables(results), **tabulate(results)}
    warnings = differing_settings(results)
    warnings += [f"{name}: {line}" for name in results.checkpoints for line in gather_warnings(results, name)]
    page = Page(
        title=f"Comparison of {len(results.checkpoints)} checkpoints",
        subtitle=about(results, ""),
        facts=_facts_of_all(results),
        warnings=warnings,
        summary=describe_comparison(results),
        sections=_sections(results, tables),
    )
    return _write(results, folder, page, tables, None, parts)


def _render_one(results: Results) -> Rendered:
    name = results.checkpoints[0]
    summary, tables = summarise(results), tabulate(results)
    page = Page(
        title=f"Geometry of {name}",
        subtitle=about(results, ""),
        facts=_facts(results.manifests[name]),
        warnings=summary["warnings"],
        summary=describe(results),
        sections=_sections(results, tables),
    )
    return _write(results, results.folder, page, tables, summary, ())


def _write(
    results: Results,
    folder: Path,
    page: Page,
    tables: Mapping[str, Table],
    summary: Mapping[str, Any] | None,
    parts: tuple[Rendered, ...],
) -> Rendered:
    written = None
    if summary is not None:
        written = folder / "summary.json"
        write_text(written, json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    report = folder / "report.html"
    write_text(report, to_html(page, style.template(), style.template(dark=True)))
    drawn = _write_tables(tables, folder), _write_figures(results, folder)
    for path in {folder / name for name in DRAWN} - {*drawn[0], *drawn[1]}:
        path.unlink(missing_ok=True)  # from an earlier time, of what is not there any more
    return Rendered(folder, written, report, *drawn, parts)


def _write_tables(tables: Mapping[str, Table], folder: Path) -> tuple[Path, ...]:
    paths = []
    for name, table in tables.items():
        for suffix, text in (("csv", table.to_csv()), ("tex", table.to_latex())):
            paths.append(folder / "tables" / f"{name}.{suffix}")
            write_text(paths[-1], text)
    return tuple(paths)


def _write_figures(results: Results, folder: Path) -> tuple[Path, ...]:
    paths = []
    for kind, data, line in pictures(results):
        figure = style.settle(kind.figure(data, f"{kind.title}\n{line}"))
        for suffix in ("pdf", "png"):
            paths.append(folder / "figures" / f"{kind.name}.{suffix}")
            write_bytes(paths[-1], style.save(figure, suffix))
    return tuple(paths)


def _sections(results: Results, tables: Mapping[str, Table]) -> list[Section]:
    drawn = [
        (
            kind.section,
            Picture(kind.name, kind.title, f"{kind.caption} {line}.", kind.interactive(data, "")),
        )
        for kind, data, line in pictures(results)
        if kind.interactive is not None
    ]
    sections = [
        Section(
            title,
            [picture for section, picture in drawn if section == title],
            {name: tables[name] for name in names if name in tables},
        )
        for title, names in SECTIONS.items()
    ]
    return [section for section in sections if section.pictures or section.tables]


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What was analysed and how, as text."""
    checkpoint, reference, settings = manifest["checkpoint"], manifest["reference"], manifest["settings"]
    versions, machine = manifest["versions"], manifest["machine"]
    facts = {
        "Checkpoint": checkpoint["path"],
        "SHA-256 of the file": checkpoint["sha256"],
        "Digest of the network": checkpoint["digest"],
        "Architecture": checkpoint["architecture"],
        "Reference": f"{reference['path']} ({reference['sha256']})" if reference else "none",
        "Command": manifest["command"],
        "Conditions": ", ".join(condition["spec"] for condition in manifest["conditions"]),
        "Measurements": ", ".join(one["name"] for one in manifest["measurements"]),
        "Settings": ", ".join(f"{key} = {value}" for key, value in settings.items()),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Machine": ", ".join(f"{key} {value}" for key, value in machine.items()),
    }
    return {name: str(value) for name, value in facts.items()}


def _facts_of_all(results: Results) -> dict[str, str]:
    return {
        f"{name}: {key}": value
        for name, manifest in results.manifests.items()
        for key, value in _facts(manifest).items()
        if key in ("Checkpoint", "SHA-256 of the file", "Architecture", "Command")
    }
