"""The learning rate, and one strength, of every method on the digits: four trials each, all judged alike.

python benchmarks/tune_glyphs.py [--workers 2] [--methods ft,grace] [--out build/tuning_glyphs]

A trial is a run of the budget `standard`, one seed, on the 90 % of the training digits that are not held back. It is
judged on the other 10 %, in all domains: ID, OOD, and Adv under PGD-20 on ID. Of a method's trials the one with the
highest harmonic mean of the three is chosen; where Adv is below 0.05 in all of them, the one with the highest harmonic
mean of ID and OOD: else a sample or two that withstand by chance would decide. Of equal ones the first. A trial that
fails (the loss is no longer finite) counts as 0. Ranges were moved once, for all methods of a kind, where the best
stood at an edge or all of it ended at a constant; with four trials some still end at an edge. The test digits are not
looked at. TPGM's radii and GRACE's curvature are of the same held-back digits that judge the trials, as they would be
in practice.

The zero-shot start was pretrained on all training digits, those held back here among them. So ID is near 1 for every
method that keeps it, and what decides is OOD and Adv: of the clean methods the low rates are chosen, which gain no ID.

It writes benchmarks/results/tuning_glyphs.json, and from that the tables below the mark in
grace/recipes/budgets/glyphs.standard.toml; what stands above the mark is for all methods and is read, not written. A
tuning that was stopped goes on; methods that are not asked for keep what was found of them, unless what is above the
mark, or their trials here, changed.
"""

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geomlab import files, progress
from geomlab.environment import versions
from geomlab.errors import UserError
from grace import methods
from grace.bench import workers
from grace.bench.cells import Cell, Job, attempt
from grace.bench.judge import Judge
from grace.bench.plan import origin_of
from grace.bench.statistics import harmonic_mean
from grace.bench.variants import Variant, shared
from grace.recipe import attack_of, compose

# Factors of the recipe's own learning rate, for clean images: the more a method drifts, the more of OOD it loses.
TWO = (1 / 3, 1 / 9)
FOUR = (1, 1 / 3, 1 / 9, 1 / 27)
# For attacked images: at a low rate nothing withstands within the budget.
TWO_UP = (3, 9)
FOUR_UP = (1, 3, 9, 27)

# Every combination is tried: four for each method, whether it has a strength or not.
SPACE: dict[str, tuple[tuple[float, ...], tuple[dict[str, float], ...]]] = {
    "zero-shot": ((), ()),  # nothing to tune
    "ft": (FOUR, ({},)),
    "lp-ft": (FOUR, ({},)),
    "wise-ft": (TWO, ({"alpha": 0.5}, {"alpha": 0.8})),
    "flyp": (TWO, ({"equal_captions": False}, {"equal_captions": True})),
    "tpgm": (FOUR, ({},)),
    "spd": (TWO, ({"strength": 1.0}, {"strength": 0.3})),
    "tecoa": (FOUR_UP, ({},)),
    "fare": (FOUR_UP, ({},)),
    "pmg-aft": (FOUR_UP, ({},)),
    "laat": (FOUR_UP, ({},)),
    "awp": (TWO_UP, ({"gamma": 0.005}, {"gamma": 0.01})),
    "sam": (TWO, ({"rho": 0.05}, {"rho": 0.1})),
    "asam": (TWO, ({"rho": 0.5}, {"rho": 1.0})),
    "lora-ft": (FOUR, ({},)),
    "lora-spd": (TWO, ({"strength": 1.0}, {"strength": 0.3})),
    "lora-tecoa": (FOUR_UP, ({},)),
    "lora-at": (FOUR_UP, ({},)),
    "vpt-pmg-aft": (TWO, ({"prompts": 4}, {"prompts": 16})),  # at higher rates it loses ID and gains nothing
    "grace": (TWO_UP, ({"lambda_lar": 1.0}, {"lambda_lar": 3.0})),
}

ROBUST = 0.05  # below that, Adv is noise: six of the 131 samples held back
DATA, START, SEED = "glyphs", "embedded:zero-shot", 0
MARK = "# Tuned by benchmarks/tune_glyphs.py; all below this line is written by it."
BUDGET = Path("grace/recipes/budgets/glyphs.standard.toml")
RESULTS = Path("benchmarks/results/tuning_glyphs.json")


def trials(method: str) -> list[dict[str, float]]:
    """The settings of a method's trials, by dotted key."""
    own = compose(method, DATA).optimisation.lr
    factors, strengths = SPACE[method]
    return [
        {"optimisation.lr": float(f"{factor * own:.2g}")}
        | {f"options.{key}": value for key, value in strength.items()}
        for strength in strengths
        for factor in factors
    ]


def plan(names: Sequence[str], common: Sequence[str], out: Path) -> list[tuple[str, dict[str, float], Cell]]:
    """Method, settings and cell of every trial."""
    planned = []
    for name in names:
        for settings in trials(name):
            own = tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())
            variant = Variant(f"{name}:{','.join(own)}", name, own)
            recipe = variant.recipe(DATA, None, shared(common, [variant], strict=False)[variant])
            judge = Judge(
                recipe.data.train,
                attack_of(DATA).eps,
                held_back=recipe.data.validation,
                thorough=False,
            )
            cell = Cell(
                variant.label,
                recipe,
                SEED,
                START,
                origin_of(recipe, START),
                judge,
                out / f"{variant.folder}-{SEED}",
                checkpoint_every=50,
            )
            planned.append((name, settings, cell))
    return planned


def choose(scores: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """The number of the best trial, and what it is best in.

    Raises:
        UserError: if all failed.
    """
    if all("error" in score for score in scores):
        raise UserError(f"every trial failed; the first: {scores[0]['error']}")
    key = "harmonic_mean" if any(score.get("adv", 0.0) >= ROBUST for score in scores) else "id_ood"
    return max(range(len(scores)), key=lambda i: scores[i].get(key, 0.0)), key


def flat(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A TOML table as `key=value` settings."""
    settings = []
    for key, value in table.items():
        settings += (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else [f"{prefix}{key}={json.dumps(value)}"]
        )
    return settings


def tables(found: Mapping[str, Any]) -> str:
    """The chosen settings of every method, as `[for.METHOD.SECTION]`."""
    lines = [MARK]
    for name, of in sorted(found.items()):
        sections: dict[str, list[str]] = {}
        for dotted, value in of["trials"][of["chosen"]]["settings"].items():
            section, _, key = dotted.partition(".")
            sections.setdefault(section, []).append(f"{key} = {json.dumps(value)}")
        for section, settings in sections.items():
            lines += ["", f"[for.{name}.{section}]", *settings]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--methods", help="a list with commas; without: all that are in SPACE")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all trials")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("build/tuning_glyphs"), help="of the trials")
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--budget", type=Path, default=BUDGET, help="the file whose tables are written")
    args = options.parse_args(arguments)
    asked = args.methods.split(",") if args.methods else [name for name in SPACE if name in methods.names()]
    unknown = [name for name in asked if name not in SPACE or name not in methods.names()]
    if unknown:
        raise SystemExit(f"tune_glyphs: no search space for {', '.join(unknown)}; add it to SPACE")
    shown = args.budget.read_text(encoding="utf-8").partition(MARK)[0].rstrip() + "\n"
    common = [*flat(tomllib.loads(shown)), *args.set]
    try:
        found = tune([name for name in asked if SPACE[name][0]], common, args.out, args.workers)
        kept = json.loads(args.results.read_text(encoding="utf-8")) if args.results.exists() else {}
        others = {
            name: of
            for name, of in (kept["methods"] if kept.get("common") == common else {}).items()
            if name in SPACE and [trial["settings"] for trial in of["trials"]] == trials(name)
        }
        content = {"schema": 1, "rule": " ".join(__doc__.split("\n\n")[2].split()), "common": common}
        content |= {"versions": versions(), "methods": dict(sorted((others | found).items()))}
        files.replace(args.results, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
        files.replace(args.budget, f"{shown}\n{tables(content['methods'])}".encode())
    except UserError as error:
        raise SystemExit(f"tune_glyphs: {error}") from error
    except KeyboardInterrupt as stop:
        raise SystemExit(f"tune_glyphs: interrupted; the same command goes on from {args.out}") from stop


def tune(names: Sequence[str], common: Sequence[str], out: Path, processes: int) -> dict[str, Any]:
    """Every trial of the methods with its scores, and which is chosen."""
    planned = plan(names, common, out)
    scores: dict[str, dict[str, Any]] = {}
    with progress.bar(len(planned), "tuning") as bar:
        jobs = [Job((cell,)) for _, _, cell in planned]
        for cell, result in workers.run(jobs, processes, attempt):
            scores[cell.label] = result
            print(f"{cell.label}: {describe(result)}", flush=True)
            bar.advance()
    found: dict[str, Any] = {}
    for name, settings, cell in planned:
        result = scores[cell.label]
        kept = {key: result[key] for key in KEPT if key in result}
        if "error" not in result:
            kept["id_ood"] = harmonic_mean([result["id"], result["ood"]])
        found.setdefault(name, {"trials": []})["trials"].append({"settings": settings, **kept})
    for name, of in found.items():
        try:
            of["chosen"], of["by"] = choose(of["trials"])
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return found


KEPT = ("id", "ood", "adv", "harmonic_mean", "drift", "steps", "seconds_per_step", "accuracy", "n", "error")


def describe(result: Mapping[str, Any]) -> str:
    if "error" in result:
        return f"failed: {result['error']}"
    return f"ID {result['id']:.3f}  OOD {result['ood']:.3f}  Adv {result['adv']:.3f}  HM {result['harmonic_mean']:.3f}"


if __name__ == "__main__":
    main()
