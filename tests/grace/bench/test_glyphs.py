import json
from pathlib import Path

import pytest

from benchmarks import glyphs
from grace import methods
from grace.bench import variants


@pytest.mark.parametrize("part", glyphs.PARTS)
def test_every_part_can_be_composed(part: str) -> None:
    for variant in variants.parse([glyphs.PARTS[part][1]]):
        assert variant.recipe("glyphs", "standard", ()).optimisation.max_steps == 200


def test_no_method_that_starts_from_a_checkpoint_is_left_out() -> None:
    here = {name for name in methods.names() if not methods.get(name).from_scratch}
    assert here <= {variant.method for variant in variants.parse([glyphs.METHODS])}


@pytest.mark.usefixtures("weak")
def test_a_part_is_written_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = ("--set", "optimisation.max_steps=2", "--set", "optimisation.warmup=1", "--samples", "10")
    monkeypatch.setitem(
        glyphs.PARTS, "longer", ("--methods", "ft,ft:optimisation.lr=0.5", *short, "--seeds", "1")
    )
    glyphs.main(["--part", "longer", "--workers", "1", "--out", str(tmp_path), "--results", str(tmp_path)])
    found = json.loads((tmp_path / "glyphs_longer.json").read_text())
    assert [row["method"] for row in found["rows"]] == ["ft", "ft:optimisation.lr=0.5"]
    assert found["command"].startswith(
        "grace bench --methods ft,ft:optimisation.lr=0.5 --set optimisation.max_steps=2"
    )
    log = (tmp_path / "longer" / "runs" / "ft-0" / "ft.jsonl").read_text().splitlines()
    losses = [json.loads(line)["cross_entropy"] for line in log]
    assert found["rows"][0]["terms"] == {"cross_entropy": pytest.approx(sum(losses) / 2)}
