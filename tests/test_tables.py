import csv
import io
import math

import pytest
from rich.console import Console

from geomlab.tables import Cell, Table, latex


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(0.95312, 0.0123), "0.953 ± 0.012"),
        (Cell(0.95312, 0.0123, digits=1), "0.95 ± 0.01"),
        (Cell(0.0996, 0.00996), "0.100 ± 0.010"),
        (Cell(1234.4, 56.1), "1234 ± 56"),
        (Cell(123456.0, 7890.0), "123500 ± 7900"),
        (Cell(1234567.0, 23456.0), "(1.235 ± 0.023)e6"),
        (Cell(1.234e-5, 4e-7), "(1.234 ± 0.040)e-5"),
        (Cell(-2e-4, 3e-5), "(−2.00 ± 0.30)e-4"),
        (Cell(95.31, (92.65, 97.02)), "95.3 [92.7, 97.0]"),
        (Cell(100.0, (98.74, 100.0)), "100.00 [98.74, 100.00]"),
        (Cell(12.3456), "12.35"),
        (Cell(0.0), "0"),
        (Cell(1.0, 0.0), "1.000 ± 0"),
        (Cell(-0.001, 0.2), "0.00 ± 0.20"),
        (Cell(3.0, math.nan), "3.000 ± –"),
        (Cell(math.nan, 0.1), "–"),
        (Cell(math.inf), "–"),
    ],
)
def test_a_number_is_rounded_to_its_error(cell: Cell, text: str) -> None:
    assert str(cell) == text


def table(n_second: int = 30) -> Table:
    rows = (
        ("a_b", Cell(1.0, 0.1, 30), Cell(2.0, (1.0, 3.0), 30)),
        ("[red]x", Cell(math.nan), Cell(5.0, n=n_second)),
    )
    return Table("Some & more", ("name", "λ", "10 %"), rows, "What it is.")


def test_n_is_a_column_where_a_row_has_one() -> None:
    headings, rows = table().formatted()
    assert headings == ("name", "λ", "10 %", "n")
    assert rows[0] == ("a_b", "1.00 ± 0.10", "2.0 [1.0, 3.0]", "30")


def test_n_stands_in_the_cells_where_it_differs_within_a_row() -> None:
    mixed = Table("t", ("a", "b"), ((Cell(1.0, 0.1, 30), Cell(2.0, 0.1, 40)),))
    assert mixed.formatted() == (("a", "b"), (("1.00 ± 0.10 (n = 30)", "2.00 ± 0.10 (n = 40)"),))


def test_text_is_aligned_and_explains_the_dash() -> None:
    lines = str(table()).splitlines()
    assert lines[0] == "Some & more"
    assert lines[3].endswith("1.00 ± 0.10  2.0 [1.0, 3.0]  30")
    assert lines[-1] == "What it is. –: not measured, or not defined."


def test_csv_keeps_full_precision_and_every_error() -> None:
    rows = list(csv.DictReader(io.StringIO(table(40).to_csv())))
    assert rows[0] == {
        **{"name": "a_b", "λ": "1.0", "λ_stderr": "0.1", "λ_n": "30"},
        **{"10 %": "2.0", "10 %_low": "1.0", "10 %_high": "3.0", "10 %_n": "30"},
    }
    assert rows[1]["λ"] == ""
    assert rows[1]["10 %_n"] == "40"


def test_latex_is_booktabs_with_all_text_escaped() -> None:
    text = table().to_latex()
    assert r"\caption{Some \& more. What it is. --: not measured, or not defined.}" in text
    assert r"name & $\lambda$ & 10 \% & n \\" in text
    assert r"a\_b & 1.00 $\pm$ 0.10 & 2.0 [1.0, 3.0] & 30 \\" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert latex("a_b%$#{}~^\\<") == r"a\_b\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$<$"


def test_a_terminal_takes_brackets_literally() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(table())
    assert "[red]x" in console.file.getvalue()  # type: ignore[attr-defined]


def test_html_escapes() -> None:
    text = Table("<b>", ("<i>",), (("<script>",),)).to_html()
    assert "&lt;script&gt;" in text
    assert "<script" not in text + Table("<b>", (), ()).to_html()


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        Table("t", ("a", "b"), (("x",),))
