from pathlib import Path

import pytest

from benchmarks import tables
from geomlab.tables import Cell


def row(method: str, seed: int, **axes: float | None) -> dict[str, object]:
    rest = {"id": 1.0, "ood": 0.5, "adv": 0.0, "harmonic_mean": 0.0, "drift": 0.01, "cost_ratio": 1.0}
    return {"method": method, "seed": seed, "steps": 200} | rest | axes


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_are_what_the_committed_results_say(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert len(tables.MARKED.findall(text)) >= 1
    assert tables.written(text) == text


def test_a_table_of_means_and_half_widths() -> None:
    rows = [row("ft", 0, ood=0.4), row("ft", 1, ood=0.6), row("zero-shot", 0, cost_ratio=None)]
    assert tables.bench({"rows": rows}).splitlines() == [
        "| method | ID | OOD | Adv | harmonic mean | relative drift | harmonic mean − ft |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| `ft` | 100.0 | 50.0 ± 127.1 | 0.0 | 0.0 | 1.0 | reference |",  # t(0.975, 1) = 12.706, stderr 0.1
        "| `zero-shot` | 100.0 | 50.0 | 0.0 | 0.0 | 1.0 | 0.0 |",
    ]


def test_numbers_that_round_to_zero_have_no_sign() -> None:
    assert tables.shown(Cell(-0.0003, (-0.1, 0.1))) == "0.0 ± 10.0"
    assert tables.shown(Cell(-0.012)) == "−1.2"
    assert tables.shown(Cell(float("nan"))) == "–"


def test_a_table_of_costs() -> None:
    runs = [{"attack_steps": 10, "ratio": {"ft": 1.0, "grace": 10.44}}]
    runs.append({"attack_steps": 5, "ratio": {"ft": 1.0, "grace": 7.8}})
    assert tables.cost({"runs": runs}).splitlines() == [
        "| method | PGD-10 | PGD-5 |",
        "| --- | ---: | ---: |",
        "| `ft` | 1.0 | 1.0 |",
        "| `grace` | 10.4 | 7.8 |",
    ]
