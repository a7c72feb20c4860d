"""`grace`: arguments only. Each command imports what it needs when it runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from geomlab import console
from geomlab.errors import UserError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train GRACE and the methods it is compared with.",
)


@app.command()
def train(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="As in `grace list`.")],
    out: Annotated[Path, typer.Option(help="Folder for METHOD.pt and METHOD.jsonl.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Training data.")] = "glyphs",
    initial: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="CKPT", help="A file, open_clip:NAME[,pretrained=TAG] or embedded:NAME."
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Your own TOML, on top of the shipped recipe.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="On top of all, for example optimisation.lr=1e-4."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run's files.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a run that was stopped, or begin; one that is complete stays."
        ),
    ] = False,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Save the state every N steps, for --resume.")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Also log to tensorboard or wandb.")
    ] = None,
) -> None:
    """Train a method and write a checkpoint."""
    from geomlab.devices import choose
    from grace import loop, signals
    from grace.recipe import compose

    if resume and overwrite:
        raise UserError("--resume keeps what is there, --overwrite replaces it; give one of them")
    composed = compose(method, data, file=recipe, settings=settings or ())
    where = choose(device)
    conduct = loop.Conduct(overwrite, resume, checkpoint_every, tuple(dict.fromkeys(log or ())))
    try:
        written = loop.train(composed, out, initial=initial, seed=seed, device=where, conduct=conduct)
    except signals.Interrupted as stop:
        raise console.Stopped(str(stop), 128 + stop.number) from stop
    console.say(f"{written.path}  digest {written.digest[:16]}")


@app.command()
def merge(
    base: Annotated[str, typer.Argument(metavar="CKPT", help="What the adapters were trained on.")],
    adapters: Annotated[Path, typer.Argument(metavar="ADAPTERS", help="METHOD.adapters.pt.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
) -> None:
    """Merge adapters into the checkpoint they were trained on."""
    from grace.adapters import merge as run

    console.say(str(run(base, adapters, out).path))


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint file.")],
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Without: what the checkpoint says.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Without: what the checkpoint says.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="For example pgd:eps=4/255. Without: clean, every domain, PGD."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Samples a condition, or all there are.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the samples and the attack.")] = 0,
) -> None:
    """Accuracy with 95 % Wilson intervals under each condition."""
    from grace.evaluate import evaluate as run

    results = run(checkpoint, data=data, model=model, conditions=condition or (), n=n, seed=seed)
    console.say(f"{'condition':<36} accuracy  95 % interval (Wilson), seed {seed}")
    for result in results:
        console.say(str(result))


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder for bench.json, the table, and runs/.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Methods or variants, NAME:key=value. Without: all that start from a checkpoint.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many: 0, 1, …")] = 3,
    data: Annotated[str, typer.Option(metavar="SPEC", help="Training data.")] = "glyphs",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="quick, standard, … Without: standard where the data has it, else the recipes'.",
        ),
    ] = None,
    initial: Annotated[
        str | None, typer.Option("--from", metavar="CKPT", help="The zero-shot checkpoint; as of train.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For all methods.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="Judged on, of each condition. Without: all there are.")
    ] = None,
    held_back: Annotated[
        bool,
        typer.Option("--held-back", help="Judge on what data.validation holds back, to choose settings by."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; they change no number but the times.")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of each process; they change last bits.")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    checkpoint_every: Annotated[
        int, typer.Option(metavar="N", min=1, help="Save the state of a run every N steps.")
    ] = 50,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew. Without: the same command goes on.")
    ] = False,
) -> None:
    """Train methods with several seeds from one checkpoint, judge them alike, and tabulate them."""
    from geomlab.devices import choose
    from grace import signals
    from grace.bench import study, variants
    from grace.bench.plan import Request

    request = Request(
        variants.parse(methods or ()),
        seeds=seeds,
        data=data,
        budget=budget,
        initial=initial,
        settings=tuple(settings or ()),
        samples=samples,
        held_back=held_back,
        workers=workers,
        threads=threads,
        device=choose(device),
        checkpoint_every=checkpoint_every,
        overwrite=overwrite,
    )
    try:
        table = study.bench(request, out, console.say)
    except KeyboardInterrupt as stop:
        status = 128 + stop.number if isinstance(stop, signals.Interrupted) else 130
        said = f"interrupted; what is done stays in {out}, the same command goes on"
        raise console.Stopped(said, status) from stop
    console.say(str(table))


@app.command("list")
def list_methods() -> None:
    """The methods, their references, and the terms of the bound they address."""
    from grace import methods

    width = max(map(len, methods.names()))
    for name in methods.names():
        method = methods.get(name)
        console.say(f"{name:<{width}}  {method.terms or '-':<3}  {method.summary} [{method.reference}]")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return console.run(app, "grace", args)
