from benchmarks import readme_tables


def row(method: str, seed: int, **axes: float) -> dict[str, object]:
    rest = {"id": 1.0, "ood": 0.5, "adv": 0.0, "harmonic_mean": 0.0, "drift": 0.01}
    return {"method": method, "seed": seed} | rest | axes


def test_the_tables_are_what_the_committed_results_say() -> None:
    text = readme_tables.README.read_text(encoding="utf-8")
    assert len(readme_tables.MARKED.findall(text)) >= 1
    assert readme_tables.written(text) == text


def test_a_table_of_means_and_half_widths() -> None:
    rows = [row("ft", 0, ood=0.4), row("ft", 1, ood=0.6), row("zero-shot", 0)]
    assert readme_tables.table(rows).splitlines()[2:] == [
        "| `ft` | 100.0 | 50.0 ± 127.1 | 0.0 | 0.0 | 1.0 |",  # t(0.975, 1) = 12.706, stderr 0.1
        "| `zero-shot` | 100.0 | 50.0 | 0.0 | 0.0 | 1.0 |",
    ]
