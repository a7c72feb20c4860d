"""Numbers with their errors, as text, CSV, LaTeX and HTML."""

import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A number, how uncertain it is, and of how many samples.

    Attributes:
        value: the number; one that is not finite is shown as a dash.
        error: its standard error, or the ends of an interval, or None where it has none.
        n: number of samples behind it, or None where there are none.
        digits: significant digits of the error that text shows.
    """

    value: float
    error: float | tuple[float, float] | None = None
    n: int | None = None
    digits: int = 2

    def __str__(self) -> str:
        """Value and error with the same number of decimals."""
        return format_cell(self)


Entry = Cell | str


@dataclass(frozen=True)
class Table:
    """Rows of text and of numbers with errors.

    Attributes:
        title: a few words.
        columns: one heading a column.
        rows: each with one entry a column.
        caption: what the numbers are, in a sentence or two.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...] = field(default=())
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table '{self.title}': {len(self.columns)} columns, but a row of {len(row)}"
                )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether a column holds numbers."""
        return tuple(any(isinstance(row[i], Cell) for row in self.rows) for i in range(len(self.columns)))

    def formatted(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Headings and rows as text; n is a last column, or in the cells where it differs within a row."""
        counts = [{entry.n for entry in row if isinstance(entry, Cell)} - {None} for row in self.rows]
        if not any(counts):
            return self.columns, tuple(tuple(map(str, row)) for row in self.rows)
        if all(len(count) <= 1 for count in counts):
            ends = [str(next(iter(count), MISSING)) for count in counts]
            rows = tuple((*map(str, row), end) for row, end in zip(self.rows, ends, strict=True))
            return (*self.columns, "n"), rows
        return self.columns, tuple(tuple(map(_with_n, row)) for row in self.rows)

    @property
    def notes(self) -> str:
        """The caption, and what a dash stands for if there is one."""
        dashes = any(isinstance(e, Cell) and not math.isfinite(e.value) for row in self.rows for e in row)
        return " ".join(
            filter(None, [self.caption, f"{MISSING}: not measured, or not defined." if dashes else ""])
        )

    def __str__(self) -> str:
        """Plain text, aligned."""
        headings, rows = self.formatted()
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        right = _right(self, headings)
        lines = [
            "  ".join(_pad(*cell) for cell in zip(row, widths, right, strict=True))
            for row in (headings, *rows)
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(filter(None, [self.title, *(line.rstrip() for line in lines), self.notes]))

    def __rich__(self) -> RichTable:
        """For a terminal. Text is taken literally: a name may hold brackets."""
        headings, rows = self.formatted()
        table = RichTable(
            title=Text(self.title, style="bold"),
            caption=Text(self.notes),
            box=SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        for heading, right in zip(headings, _right(self, headings), strict=True):
            table.add_column(
                Text(heading), justify="right" if right else "left", no_wrap=right, overflow="fold"
            )
        for row in rows:
            table.add_row(*map(Text, row))
        return table

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """An HTML table; all text is escaped, and a SPEC may break behind its colon."""
        headings, rows = self.formatted()
        right = [' class="number"' if number else "" for number in _right(self, headings)]

        def cells(tag: str, row: Sequence[str], extra: str = "") -> str:
            return "".join(
                f"<{tag}{extra}{kind}>{html.escape(text).replace(':', ':<wbr>')}</{tag}>"
                for text, kind in zip(row, right, strict=True)
            )

        head = "<thead><tr>" + cells("th", headings, ' scope="col"') + "</tr></thead>"
        body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
        caption = f"<caption><strong>{html.escape(self.title)}.</strong> {html.escape(self.notes)}</caption>"
        return f"<table>{caption}{head}<tbody>\n{body}\n</tbody></table>"

    def to_csv(self) -> str:
        """CSV in full precision: each column of numbers is followed by those of its error and n."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        parts = [_csv_parts([row[i] for row in self.rows]) for i in range(len(self.columns))]
        writer.writerow(
            [column + suffix for column, some in zip(self.columns, parts, strict=True) for suffix in some]
        )
        for row in self.rows:
            writer.writerow(
                [_csv_value(entry, part) for entry, some in zip(row, parts, strict=True) for part in some]
            )
        return out.getvalue()

    def to_latex(self) -> str:
        """A LaTeX table; it needs the package booktabs."""
        headings, rows = self.formatted()
        columns = "".join("r" if right else "l" for right in _right(self, headings))
        lines = [" & ".join(map(latex, row)) + r" \\" for row in rows]
        caption = " ".join(filter(None, [f"{self.title.rstrip('.')}.", self.notes]))
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{latex(caption)}}}",
                rf"  \begin{{tabular}}{{{columns}}}",
                r"    \toprule",
                "    " + " & ".join(map(latex, headings)) + r" \\",
                r"    \midrule",
                *("    " + line for line in lines),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def format_cell(cell: Cell) -> str:
    """`0.953 ± 0.012`, `0.95 [0.93, 0.97]`, `(1.23 ± 0.04)e-5`, `0.953`, or a dash."""
    if not math.isfinite(cell.value):
        return MISSING
    interval = isinstance(cell.error, tuple)
    ends = list(cell.error) if isinstance(cell.error, tuple) else [] if cell.error is None else [cell.error]
    spread = (max(ends) - min(ends)) / 2 if interval else ends[0] if ends else math.nan
    power = _power(max(abs(x) for x in (cell.value, *ends) if math.isfinite(x)))
    decimals = _decimals(cell.value, spread, cell.digits) + power
    number, *limits = (_fixed(x / 10.0**power, decimals) for x in (cell.value, *ends))
    exponent = f"e{power}" if power else ""
    if interval:
        return f"{number} [{', '.join(limits)}]{exponent}"
    if not limits:
        return number + exponent
    text = f"{number} ± {limits[0] if cell.error else '0'}"
    return f"({text}){exponent}" if exponent else text


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped, and signs as mathematics."""
    return "".join(_LATEX.get(character, character) for character in text)


def _decimals(value: float, error: float, digits: int) -> int:
    """Decimals that show so many significant digits of the error, or four of a value without one."""
    leading, shown = (error, digits) if math.isfinite(error) and error > 0 else (value, 4)
    return shown - 1 - _magnitude(leading, shown) if leading else 0


def _magnitude(x: float, digits: int) -> int:
    """Power of ten of the leading digit after rounding to `digits`: 0.0999 has one more than 0.0991."""
    return int(f"{abs(x):.{digits - 1}e}".split("e")[1])


def _power(size: float) -> int:
    """The power of ten to take out: none between 0.001 and a million."""
    if size == 0 or 1e-3 <= size < 1e6:
        return 0
    return _magnitude(size, 4)


def _fixed(x: float, decimals: int) -> str:
    if not math.isfinite(x):
        return "∞" if x > 0 else MISSING
    text = f"{x:.{max(decimals, 0)}f}" if decimals >= 0 else f"{round(x, decimals):.0f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _with_n(entry: Entry) -> str:
    return f"{entry} (n = {entry.n})" if isinstance(entry, Cell) and entry.n is not None else str(entry)


def _right(table: Table, headings: Sequence[str]) -> list[bool]:
    return [*table.numeric, *[True] * (len(headings) - len(table.columns))]


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _csv_parts(entries: Sequence[Entry]) -> list[str]:
    """Suffixes of the CSV columns that a column becomes."""
    cells = [entry for entry in entries if isinstance(entry, Cell)]
    parts = [""]
    if any(isinstance(cell.error, float | int) for cell in cells):
        parts.append("_stderr")
    if any(isinstance(cell.error, tuple) for cell in cells):
        parts += ["_low", "_high"]
    if any(cell.n is not None for cell in cells):
        parts.append("_n")
    return parts


def _csv_value(entry: Entry, part: str) -> str:
    if isinstance(entry, str):
        return "" if part else entry
    low, high = entry.error if isinstance(entry.error, tuple) else (None, None)
    stderr = None if isinstance(entry.error, tuple) else entry.error
    value = {"": entry.value, "_stderr": stderr, "_low": low, "_high": high, "_n": entry.n}[part]
    return "" if value is None or not math.isfinite(value) else repr(value)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "√": r"$\surd$",
    "‖": r"$\|$",
    "→": r"$\to$",
    "₀": "$_0$",
    "₁": "$_1$",
    "₂": "$_2$",
    "ₖ": "$_k$",
    "ℓ": r"$\ell$",
    "²": "$^2$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "ε": r"$\varepsilon$",
    "θ": r"$\theta$",
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "∞": r"$\infty$",
    "…": r"\dots{}",
    "\n": " ",
}
