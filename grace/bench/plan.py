"""What a bench does, checked before anything is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from geomlab.errors import UserError
from geomlab.spec import parse
from grace import methods
from grace.bench import apgd
from grace.bench.cells import Cell, Job
from grace.bench.judge import Judge
from grace.bench.variants import Variant, shared
from grace.recipe import attack_of, budget_names
from grace.settings import Recipe
from grace.start import start_run

Value = TypeVar("Value")

RUNS = "runs"
STANDARD = "standard"


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        variants: the methods.
        seeds: how many; each method is trained with 0, 1, …
        data: SPEC of the training data.
        budget: name of a file under recipes/budgets; None takes `standard` where the data has it, else none.
        initial: what training starts from; None takes the recipes' `data.initial`.
        settings: `key=value` for all methods.
        samples: judged on, of each condition; None takes all.
        held_back: whether to judge on what `data.validation` holds back, so that settings can be chosen without a look
            at the test data.
        workers: processes.
        threads: of torch, a process. The last bits of a sum depend on it, so it does not follow from `workers`.
        device: of torch.
        checkpoint_every: steps after which the state of a run is saved.
        overwrite: whether what is there of these runs is removed first.
    """

    variants: tuple[Variant, ...]
    seeds: int = 3
    data: str = "glyphs"
    budget: str | None = None
    initial: str | None = None
    settings: tuple[str, ...] = ()
    samples: int | None = None
    held_back: bool = False
    workers: int = 1
    threads: int = 1
    device: str = "cpu"
    checkpoint_every: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Plan:
    """The cells of a bench.

    Attributes:
        cells: by method, in the order of the table, and seed.
        budget: that was used, None for the recipes' own.
        trained_on: whether what is judged on is what is trained on, for lack of test data.
    """

    cells: tuple[Cell, ...]
    budget: str | None
    trained_on: bool

    def jobs(self, threads: int) -> tuple[Job, ...]:
        """The cells as they can be done independently."""
        jobs: dict[object, list[Cell]] = {}
        for cell in self.cells:
            jobs.setdefault((cell.label, cell.seed if cell.takes_steps else None), []).append(cell)
        return tuple(Job(tuple(cells), threads) for cells in jobs.values())


def make(request: Request, out: Path) -> Plan:
    """All recipes, the start and the data of a bench.

    Raises:
        UserError: if one of them cannot be used, or the methods do not start from, or are not judged on, the same.
    """
    budget = request.budget or _standard(request.data)
    settings = shared(request.settings, request.variants)
    recipes = {
        variant: variant.recipe(request.data, budget, settings[variant]) for variant in request.variants
    }
    start = request.initial or _same(
        "data.initial", {v: recipe.data.initial for v, recipe in recipes.items()}
    )
    judge = _judge(request, recipes)
    origin = ""
    for variant, recipe in recipes.items():
        try:
            origin = origin_of(recipe, start)
        except UserError as error:
            raise UserError(f"{variant.label}: {error}") from error
    assert start is not None  # origin_of refuses it
    first = next(iter(recipes.values()))
    judge.open()
    apgd.require()
    cells = tuple(
        Cell(
            variant.label,
            recipe,
            seed,
            start,
            origin,
            judge,
            out / RUNS / f"{variant.folder}-{seed}",
            request.device,
            request.checkpoint_every,
        )
        for variant, recipe in recipes.items()
        for seed in range(request.seeds)
    )
    return Plan(cells, budget, not request.held_back and first.data.test is None)


def make_room(plan: Plan, out: Path, *, overwrite: bool) -> None:
    """See that nothing of another bench is in the way, and remove what may be replaced.

    Raises:
        UserError: naming what is in the way, or if the folder cannot be written.
    """
    try:
        (out / RUNS).mkdir(parents=True, exist_ok=True)
        for cell in plan.cells:
            if overwrite:
                cell.clear()
            cell.result()
    except OSError as error:
        raise UserError(
            f"{out}: cannot be used as --out ({error.strerror}); choose another folder"
        ) from error


def _standard(data: str) -> str | None:
    return STANDARD if STANDARD in budget_names(parse(data).head) else None


def _judge(request: Request, recipes: Mapping[Variant, Recipe]) -> Judge:
    """What all are judged on: the test data, or what training holds back."""
    eps, samples = attack_of(request.data).eps, request.samples
    if not request.held_back:
        tested = _same(
            "data.test", {v: recipe.data.test or recipe.data.train for v, recipe in recipes.items()}
        )
        return Judge(tested, eps, samples)
    share = _same("data.validation", {v: recipe.data.validation for v, recipe in recipes.items()})
    if not share:
        raise UserError("--held-back: these recipes hold no samples back; --set data.validation=0.1 does")
    return Judge(next(iter(recipes.values())).data.train, eps, samples, held_back=share)


def _same(key: str, values: Mapping[Variant, Value]) -> Value:
    """The one value of all methods."""
    different = {value: variant for variant, value in values.items()}
    if len(different) > 1:
        (one, first), (other, second) = list(different.items())[:2]
        raise UserError(
            f"--methods: {key} is {one} for {first.label} and {other} for {second.label}; a bench compares what "
            "starts from one checkpoint and is judged on the same data"
        )
    return next(iter(different))


def origin_of(recipe: Recipe, start: str | None) -> str:
    """The digest of what training starts from.

    Raises:
        UserError: if there is nothing, it has random weights, or the recipe cannot begin from it.
    """
    if start is not None and start.startswith("open_clip:") and parse(start).option("pretrained") is None:
        raise UserError(
            f"'{start}' has random weights; a bench starts from trained ones: add ,pretrained=TAG"
        )
    run, origin = start_run(recipe, start, 0)
    methods.get(recipe.method).prepare(run)
    assert origin is not None  # only what starts from scratch has none
    return origin
