import json
import tomllib
from pathlib import Path

import pytest

from benchmarks import tune_glyphs
from geomlab.errors import UserError
from grace import methods
from grace.bench import judge
from grace.recipe import compose, merge, recipe_of, validate

TINY = ("optimisation.max_steps=2", "optimisation.batch_size=32", "optimisation.warmup=1", "attack.steps=1")


def test_every_method_that_starts_from_a_checkpoint_has_four_trials() -> None:
    here = {name for name in methods.names() if not methods.get(name).from_scratch}
    assert here <= set(tune_glyphs.SPACE)
    for name in here - {"zero-shot"}:
        found = tune_glyphs.trials(name)
        assert len({tuple(trial.items()) for trial in found}) == 4
        factors = tune_glyphs.SPACE[name][0]
        first = pytest.approx(factors[0] * compose(name).optimisation.lr, rel=0.05)
        assert found[0]["optimisation.lr"] == first


def test_the_budget_is_what_the_committed_trials_say() -> None:
    found = json.loads(tune_glyphs.RESULTS.read_text())["methods"]
    budget = tomllib.loads(tune_glyphs.BUDGET.read_text())["for"]
    assert set(found) == set(budget) == set(tune_glyphs.SPACE) - {"zero-shot"}
    for name, of in found.items():
        assert [trial["settings"] for trial in of["trials"]] == tune_glyphs.trials(name)
        assert (of["chosen"], of["by"]) == tune_glyphs.choose(of["trials"])
        chosen = of["trials"][of["chosen"]]["settings"]
        assert tune_glyphs.flat(budget[name]) == [
            f"{key}={json.dumps(value)}" for key, value in chosen.items()
        ]


def test_the_best_harmonic_mean_is_chosen_or_that_of_id_and_ood() -> None:
    good = {"adv": 0.1, "harmonic_mean": 0.2, "id_ood": 0.3}
    weak = {"adv": 0.0, "harmonic_mean": 0.0, "id_ood": 0.7}
    lucky = {"adv": 0.02, "harmonic_mean": 0.06, "id_ood": 0.6}  # two samples or so withstand
    assert tune_glyphs.choose([weak, good, {"error": "nan"}]) == (1, "harmonic_mean")
    assert tune_glyphs.choose([weak, dict(weak), lucky]) == (0, "id_ood")
    with pytest.raises(UserError, match="every trial failed; the first: nan"):
        tune_glyphs.choose([{"error": "nan"}])


def test_trials_are_kept_and_written_as_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judge, "PGD_STEPS", 1)
    budget, results = tmp_path / "glyphs.standard.toml", tmp_path / "tuning.json"
    budget.write_text(f"[data]\nvalidation = 0.1\n\n{tune_glyphs.MARK}\n\n[for.tecoa.optimisation]\nlr = 9\n")
    given = [*("--out", str(tmp_path / "runs")), *("--results", str(results)), *("--budget", str(budget))]
    tiny = [part for text in TINY for part in ("--set", text)]
    monkeypatch.setitem(tune_glyphs.SPACE, "ft", ((1, 1 / 3), ({},)))
    monkeypatch.setitem(tune_glyphs.SPACE, "grace", ((3,), ({"rho": 0.05}, {"rho": 0.02, "lambda_gv": 0.3})))
    tune_glyphs.main(["--methods", "grace", *given, *tiny])
    tune_glyphs.main(["--methods", "ft", *given, *tiny])
    found = json.loads(results.read_text())["methods"]
    assert set(found) == {"ft", "grace"}  # what was found before stays
    trial = found["grace"]["trials"][1]
    assert trial["settings"] == {"optimisation.lr": 0.009, "options.rho": 0.02, "options.lambda_gv": 0.3}
    assert {"clean", "domain:variant", "pgd-20"} < set(trial["accuracy"])
    assert "apgd-ce" not in trial["accuracy"]
    assert trial["n"]["clean"] == 131  # of 1,200 digits, those that no step of any method sees
    written = tomllib.loads(budget.read_text())
    assert (written["data"], set(written["for"])) == ({"validation": 0.1}, {"ft", "grace"})
    for name in ("ft", "grace"):
        chosen = found[name]["trials"][found[name]["chosen"]]["settings"]
        raw = merge(compose(name).model_dump(mode="json"), written["for"][name])
        recipe = validate(recipe_of(methods.get(name)), raw)
        assert recipe.optimisation.lr == chosen["optimisation.lr"]
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("result.json"))
    assert len(before) == 4
    tune_glyphs.main(["--methods", "ft,grace", *given, *tiny])
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")) == before
    assert "grace:optimisation.lr=0.009,options.rho=0.02" in capsys.readouterr().out


def test_a_trial_that_diverges_counts_as_nothing_and_any_other_failure_ends_the_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "PGD_STEPS", 1)
    monkeypatch.setitem(tune_glyphs.SPACE, "ft", ((1e33, 1), ({},)))
    budget, results = tmp_path / "glyphs.standard.toml", tmp_path / "tuning.json"
    budget.write_text(f"[data]\nvalidation = 0.1\n\n{tune_glyphs.MARK}\n")
    given = [*("--out", str(tmp_path / "runs")), *("--results", str(results)), *("--budget", str(budget))]
    tiny = [part for text in TINY for part in ("--set", text)]
    tune_glyphs.main(["--methods", "ft", *given, *tiny])
    failed, fine = json.loads(results.read_text())["methods"]["ft"]["trials"]
    assert "loss nan" in failed["error"] or "loss inf" in failed["error"], failed
    assert fine["id"] > 0
    with pytest.raises(SystemExit, match="is of another run"):
        tune_glyphs.main(["--methods", "ft", *given, *tiny, "--set", "optimisation.weight_decay=0.3"])


def test_a_method_without_a_search_space_is_refused() -> None:
    with pytest.raises(SystemExit, match="no search space for clip; add it to SPACE"):
        tune_glyphs.main(["--methods", "clip"])
