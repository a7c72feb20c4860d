import csv
import io
from typing import Any

import pytest
from scipy import stats

from grace.bench.table import rows, tabulate

HM = {"zero-shot": [0.2, 0.2, 0.2], "ft": [0.3, 0.35, 0.31], "grace": [0.5, 0.58, 0.49]}
SECONDS = {"zero-shot": None, "ft": 0.5, "grace": 2.0}


def result(method: str, seed: int, **changes: Any) -> dict[str, Any]:
    """What a result.json holds."""
    axes = {"id": 0.9, "ood": 0.6, "adv": 0.1 * seed, "harmonic_mean": HM[method][seed], "drift": 0.1}
    seconds = SECONDS[method]
    rest = {"steps": 0 if seconds is None else 9, "seconds_per_step": seconds, "accuracy": {}, "n": {}}
    return {"method": method, "seed": seed, **axes, **rest, "digest": "d", "identity": {}} | changes


def every(*names: str) -> list[dict[str, Any]]:
    return [result(name, seed) for name in names for seed in range(3)]


def table(listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tabulate(listed, title="t", caption="c").to_csv())))


def test_rows_have_the_documented_keys_and_the_cost_at_their_seed() -> None:
    found = rows([result("ft", 0, seconds_per_step=0.25), *every("zero-shot", "grace")[3:5], result("ft", 1)])
    assert set(found[0]) == {
        *("method", "seed", "id", "ood", "adv", "harmonic_mean", "drift", "steps", "seconds_per_step"),
        *("cost_ratio", "accuracy", "n", "digest"),
    }
    assert [row["cost_ratio"] for row in found] == [1.0, 8.0, 4.0, 1.0]
    assert [row["cost_ratio"] for row in rows(every("zero-shot", "ft"))] == [None] * 3 + [1.0] * 3
    assert [row["cost_ratio"] for row in rows(every("grace"))] == [None] * 3
    with_threads = [result("ft", 0, threads=1), result("grace", 0, threads=1), result("grace", 0, threads=2)]
    assert [row["cost_ratio"] for row in rows(with_threads)] == [1.0, 4.0, None]


def test_means_and_paired_differences_have_t_intervals() -> None:
    zero_shot, ft, grace = table(rows(every("zero-shot", "ft", "grace")))
    low, high = stats.ttest_1samp(HM["ft"], 0).confidence_interval(0.95)
    assert float(ft["harmonic mean"]) == pytest.approx(sum(HM["ft"]) / 3)
    assert float(ft["harmonic mean_low"]) == pytest.approx(low)
    assert float(ft["harmonic mean_high"]) == pytest.approx(high)
    low, high = stats.ttest_rel(HM["ft"], HM["grace"]).confidence_interval(0.95)
    assert float(ft["harmonic mean − grace_low"]) == pytest.approx(low)
    assert float(ft["harmonic mean − grace_high"]) == pytest.approx(high)
    assert grace["harmonic mean − grace"] == "reference"
    assert (zero_shot["harmonic mean"], zero_shot["harmonic mean_low"]) == (
        repr(sum(HM["zero-shot"]) / 3),
        "",
    )
    assert (zero_shot["cost ratio"], float(grace["cost ratio"])) == ("", 4.0)
    assert ft["ID_n"] == "3"


def test_the_reference_is_grace_else_ft_else_none() -> None:
    headings = [list(table(rows(every(*names)))[0]) for names in (("zero-shot", "ft"), ("zero-shot",))]
    assert "harmonic mean − ft" in headings[0]
    assert not any("−" in heading for heading in headings[1])
    variant = [row | {"method": "grace:rho=1"} for row in every("grace")]
    assert "harmonic mean − ft" in table(rows(every("ft") + variant))[0]


def test_what_is_not_defined_is_a_dash() -> None:
    lacking = [result("ft", seed, ood=None, harmonic_mean=None) for seed in range(3)]
    text = str(tabulate(rows(lacking + every("grace")), title="t", caption="c"))
    assert "–: not measured, or not defined." in text
    assert table(rows(lacking))[0]["OOD"] == ""
