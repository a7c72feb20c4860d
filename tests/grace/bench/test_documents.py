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


def test_a_table_of_times_beside_other_libraries() -> None:
    late = {"seconds": 9.0, "products": 90, "stopped": True}
    before = {"seconds": 8.0, "products": 80, "reached": False, "relative_residuals": [1e-4, 2e-2]}
    methods = {
        "geomlab": {"seconds": 2.0, "products": 20, "reached": True, "before": []},
        "pyhessian": late | {"before": [before]},
        "curvlinops": {"seconds": 5.0, "products": 25, "reached": True, "before": []},
    }
    density = {
        "geomlab": {"seconds": 1.0, "products": 10},
        "pyhessian": {"fails": "torch.eig"},
        "eigenthings": late,
    }
    found = {"cases": {"net-10": {"product": {}, "top-10": methods, "density": density}}}
    lines = tables.speed(found).splitlines()
    assert lines[0] == f"| images in the name | {' | '.join(tables.METHODS)} |"
    assert lines[2].split(" | ")[1:2] == ["2 s (20)"]
    assert "| 8 s (80), residual 2e-02 | 5 s (25), 2.5× | – | – |" in lines[2]
    assert "| fails | – | – | stopped: > 9 s (90) |" in lines[3]


def test_tables_of_products_and_of_what_was_tried() -> None:
    product = {"seconds": {"gradient": 0.5, "kept": 1.0}, "in_gradients": {"gradient": 1.0, "kept": 2.0}}
    tries = {"a": {"in_products": 0.5, "preparing_seconds": 3.0}, "b": {"fails": "no"}}
    found = {
        "cases": {"one": {"product": product, "tries": tries}, "two": {"tries": {"c": {"in_products": 1.25}}}}
    }
    assert tables.products(found).splitlines()[2:] == ["| one | 0.5 s | 2.0 |"]
    assert tables.tries(found).splitlines()[2:] == [
        "| a | 0.50, 3 s once | – |",
        "| b | fails | – |",
        "| c | – | 1.25 |",
    ]


def test_a_table_of_intervals() -> None:
    entry: dict[str, object] = {"n": 40, "deviation": 0.5, "bias of the bootstrap": -0.04}
    known = {"covers expected": 0.95, "covers limit": 0.9, "length": 2.0}
    unknown = {"covers expected": 0.955, "length": 1.0}
    found = {
        "measures": {
            "a": entry | {"bias of the measure": -1.24} | dict.fromkeys(tables.INTERVALS, known),
            "b": entry | dict.fromkeys(tables.INTERVALS, unknown),
        }
    }
    assert tables.intervals(found).splitlines()[2:] == [
        "| a | 40 | 95.0 (4.0) | 95.0 (4.0) | 95.0 (4.0) | 95.0 (4.0) | 90.0 | 90.0 | 0.0 | −1.2 |",
        "| b | 40 | 95.5 (2.0) | 95.5 (2.0) | 95.5 (2.0) | 95.5 (2.0) | – | – | 0.0 | – |",
    ]
