"""What a training step costs, in steps of vanilla fine-tuning: same process, same batch, medians of interleaved steps.

python benchmarks/train_step.py [--methods ft,…] [--batch-size 64] [--attack-steps 10] [--repeats 9] [--threads 2]
                                [--vit-b-32] [--out benchmarks/results/train_step.json]

All methods that take steps are in it, unless named; of LP-FT those after its probe. `ft` and `grace` always are: beside
the whole step of each method it says where GRACE's time goes: the attack; the passes of the attacked batch at the
weights and under their perturbation, with the inner maximum between them; and the rest: the clean pass, the backward
pass through all three and the optimiser. The curvature, measured every 1,000 steps [n], is not in them. And it says
what clean and attacked images gain from going through the network as one batch, forward and backward: LoRA-AT does
that. And what GRACE without its attack would take if it did: its pass of attacked images is also the first of the inner
maximum, whose gradient would then go back through the clean images as well, for nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geomlab import files
from geomlab.architectures import Labels
from geomlab.data import sources
from geomlab.data.arrays import Arrays
from geomlab.data.attacks.losses import cross_entropy
from geomlab.environment import machine, versions
from grace import awp, loop, lora, methods
from grace import model as models
from grace.bench import variants
from grace.gram import gram_volume
from grace.methods import grace
from grace.model import Model
from grace.optimise import make_optimiser
from grace.recipe import compose
from grace.run import Run
from grace.start import open_pools, start_model
from grace.step import Progress, take_step

ALWAYS = ("ft", "grace")


def training() -> list[str]:
    """The methods of a bench that take steps."""
    found = [variant.method for variant in variants.parse(())]
    return [name for name in found if methods.get(name).takes_steps(compose(name).options)]


def prepare(name: str, args: argparse.Namespace) -> tuple[Run, Callable[[], None]]:
    """A run of a method, and a call that takes one step of it."""
    method, folder = methods.get(name), tempfile.gettempdir()
    short = [f"optimisation.batch_size={args.batch_size}", "optimisation.warmup=0", "data.validation=0"]
    attack = [f"attack.steps={args.attack_steps}"] if "attack" in method.uses else []
    if args.vit_b_32:
        images = torch.rand(args.batch_size, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        source: Any = Arrays("random", (images, torch.arange(args.batch_size) % 10))
        recipe = compose(name, "random:images", settings=[*short, *attack])
        labels = Labels(tuple(f"class {i}" for i in range(10)))
        model: Model = models.from_open_clip("open_clip:ViT-B-32", labels, seed=0)
    else:
        recipe = compose(name, settings=[*short, *attack])
        source = sources.open_source(recipe.data.train)
        model, _ = start_model(recipe, method, source, None, 0)
    pool, validation = open_pools(recipe, source, model.preprocessing.size, 0)
    run = Run(model.eval(), recipe, pool, validation, steps=10_000)
    loop.prepare(run, method)
    model.train()
    optimiser = make_optimiser(run.weights.values(), recipe.optimisation)
    progressing = Progress(run, optimiser, Path(folder), {})

    def step() -> None:
        take_step(run, method, progressing)
        run.step += 1

    return run, step


def one_batch_over_two(run: Run, repeats: int) -> float:
    """Time of a pass of clean and attacked images as one batch over that of a pass of each, forward and backward."""
    clean = run.pool.batch(0).images
    attacked, model = clean.flip(0), run.model

    def pass_through(batches: list[Tensor]) -> Tensor:
        return torch.stack([model.embed(images).square().sum() for images in batches]).sum()

    both = torch.cat([clean, attacked])
    return ratio(run, lambda: pass_through([both]), lambda: pass_through([clean, attacked]), repeats)


def grace_one_batch_over_two(run: Run, repeats: int) -> float:
    """Time of GRACE's loss, without the attack, with clean and attacked images as one batch over that without."""
    batch, model, options = run.pool.batch(0), run.model, run.options
    attacked, count = batch.images.flip(0), len(batch.labels)
    ranks = grace.choose_ranks(run, batch)

    def total(clean: Tensor, adversarial: Tensor, perturbed: Tensor) -> Tensor:
        task, worst = (cross_entropy(model.classify(f), batch.labels).mean() for f in (clean, perturbed))
        return task + worst + gram_volume(clean, adversarial, perturbed, eps=options.gram_eps).mean()

    def two() -> Tensor:
        return total(model.embed(batch.images), *grace.perturb(run, attacked, batch.labels, ranks))

    def one() -> Tensor:
        base = lora.base_weights(model.clip)
        whole = {name: weight.detach() for name, weight in lora.merged_weights(model.clip).items()}
        branches = awp.branches(whole, ranks, rho=options.rho, rng=run.rng("awp"))
        both = torch.cat([batch.images, attacked])
        features = run.at(awp.perturbed(base, branches), lambda: model.embed(both))
        clean, adversarial = features.split(count)
        inner = cross_entropy(model.classify(adversarial), batch.labels).mean()
        branches = awp.climb(branches, inner, step=options.step, keep_graph=True)
        return total(clean, adversarial, run.at(awp.perturbed(base, branches), lambda: model.embed(attacked)))

    torch.testing.assert_close(one(), two(), rtol=1e-4, atol=0)
    return ratio(run, one, two, repeats)


def ratio(run: Run, one: Callable[[], Tensor], other: Callable[[], Tensor], repeats: int) -> float:
    """Of the median times of two losses with their gradients, measured in turns."""

    def timed_pass(loss: Callable[[], Tensor]) -> float:
        begun = time.perf_counter()
        torch.autograd.grad(loss(), list(run.weights.values()), allow_unused=True)
        return time.perf_counter() - begun

    ones, others = zip(*[(timed_pass(one), timed_pass(other)) for _ in range(repeats + 1)][1:], strict=True)
    return statistics.median(ones) / statistics.median(others)


@contextmanager
def timed(owner: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Add up the time that calls of a function take."""
    function = getattr(owner, name)

    def call(*given: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*given, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, function)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--methods", default=",".join(training()))
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--attack-steps", type=int, default=10)
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--vit-b-32", action="store_true", help="random weights and images of 224 pixels")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/train_step.json"))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    named = args.methods.split(",")
    names = named + [name for name in ALWAYS if name not in named]
    runs = {name: prepare(name, args) for name in names}
    for _, step in runs.values():
        step()  # the first of GRACE's measures the curvature
    seconds: dict[str, list[float]] = {name: [] for name in names}
    parts: dict[str, list[float]] = {"craft_against": [], "perturb": []}
    for _ in range(args.repeats):
        for name, (_, step) in runs.items():
            spent: dict[str, float] = {}
            begun = time.perf_counter()
            with timed(Run, "craft_against", spent), timed(grace, "perturb", spent):
                step()
            seconds[name].append(time.perf_counter() - begun)
            if name == "grace":
                for part in parts:
                    parts[part].append(spent[part])
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    shares = {part: statistics.median(times) / medians["grace"] for part, times in parts.items()}
    shares["rest"] = 1 - sum(shares.values())
    found = {
        "network": "ViT-B-32, random weights" if args.vit_b_32 else "embedded zero-shot CLIP",
        "batch_size": args.batch_size,
        "attack_steps": args.attack_steps,
        "repeats": args.repeats,
        "threads": args.threads,
        "seconds": medians,
        "ratio": {name: value / medians["ft"] for name, value in medians.items()},
        "shares_of_grace": shares,
        "one_batch_over_two": one_batch_over_two(runs["grace"][0], args.repeats),
        "grace_one_batch_over_two": grace_one_batch_over_two(runs["grace"][0], args.repeats),
    }
    for name, value in medians.items():
        print(f"{name:<11} {value:7.3f} s a step  {found['ratio'][name]:5.2f} × ft")
    print("of grace: " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
    print(f"clean and attacked images as one batch: {found['one_batch_over_two']:.2f} of the time of two")
    print(f"the same in GRACE, but for the attack: {found['grace_one_batch_over_two']:.2f}")
    kept = json.loads(args.out.read_text(encoding="utf-8"))["runs"] if args.out.exists() else []
    same = ("network", "batch_size", "attack_steps", "threads")
    kept = [run for run in kept if any(run[key] != found[key] for key in same)]
    content = {"schema": 1, "machine": machine(), "versions": versions(), "runs": [*kept, found]}
    files.replace(args.out, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
