"""`geomlab`: arguments only. Each command imports what it needs when it runs."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomlab import console, defaults

if TYPE_CHECKING:
    from geomlab.results import Results

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The geometry of a trained network: curvature, loss landscape, features; clean, attacked and shifted.",
)

Spec = Annotated[str | None, typer.Option(metavar="SPEC", help="Without: what the checkpoint says.")]
Resume = Annotated[bool, typer.Option("--resume", help="Compute only what is missing in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results in --out.")]


@app.command()
def analyze(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CKPT...", help="Checkpoint files, or open_clip:NAME,pretrained=TAG.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results, figures and report.")] = Path(defaults.OUT),
    reference: Annotated[Path | None, typer.Option(metavar="CKPT", help="Compare with this one.")] = None,
    trajectory: Annotated[
        list[Path] | None,
        typer.Option(metavar="CKPT", help="Shown on the plane of the slices, of directions pca:1 and pca:2 for "
                     "example; may be repeated, in order."),
    ] = None,
    data: Spec = None,
    model: Spec = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="clean, fgsm:eps=4/255, pgd:eps=4/255,steps=10, apgd, features, "
                     "worst:apgd+pgd, autoattack, domain:NAME, corruption:gaussian_noise,severity=3 or another of "
                     "ImageNet-C; may be repeated."),
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="Of accuracy,curvature,landscape,features,sanity; default all.")
    ] = None,
    params: Annotated[str, typer.Option(help="full, visual, lora, or a regular expression.")] = "full",
    matrix: Annotated[str, typer.Option(help="Of curvature: hessian, gauss-newton or finite-difference.")] = "hessian",
    eigensolver: Annotated[
        str, typer.Option(help="geomlab; with pyhessian, that too, and where the two differ.")
    ] = "geomlab",
    memory: Annotated[
        float, typer.Option(metavar="GIB", help="For kept graphs and vectors of curvature, and features.")
    ] = 12,
    direction: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="Of the loss slices, up to two: random:filter, random:layer, random:none, "
                     "gradient, eigenvector:1, eigenvector:bottom, adversarial:rank=4, reference, pca:1, lora; "
                     "default two random."),
    ] = None,
    orthogonal: Annotated[bool, typer.Option("--orthogonal", help="Second direction at a right angle.")] = False,
    attack: Annotated[
        str, typer.Option(help="Of loss slices and paths: fixed at the checkpoint, or anew at every point.")
    ] = "fixed",
    batchnorm: Annotated[
        str, typer.Option(help="Of both: statistics fixed, or taken anew on clean inputs at every point.")
    ] = "fixed",
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="From the reference to the checkpoint: linear, piecewise:bends=1,steps=100, "
                     "bezier:steps=100, each with cka=yes; may be repeated."),
    ] = None,
    plane: Annotated[
        str,
        typer.Option(metavar="SPEC", help="Of the loss slices: grid, or adaptive:error=0.02,points=500, as few points "
                     "as that error of the surface needs, and at most so many."),
    ] = "grid",
    layers: Annotated[str | None, typer.Option(metavar="REGEX", help="Layers to compare features in.")] = None,
    pooling: Annotated[str, typer.Option(help="Of tokens in them: mean, class or none.")] = "mean",
    projection: Annotated[str, typer.Option(help="Of features, for the eye: pca, or umap as well.")] = "pca",
    on_disk: Annotated[
        str, typer.Option(help="Precision of features that do not fit --memory: float32 or float16.")
    ] = "float32",
    trained_on: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of training, n of the bound's terms; else swept.")
    ] = None,
    budget: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard",
    samples: Annotated[int | None, typer.Option(metavar="N", help="A condition; by default the budget's.")] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Samples at a time.")] = 256,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:  # fmt: skip
    """Measure checkpoints and write results, tables, figures and a report.

    Example: geomlab analyze ft.pt --reference zero-shot.pt --condition clean --condition pgd:eps=4/255
    """
    from geomlab.api import analyze as run

    results = run(
        *checkpoints, out=out, reference=reference, trajectory=trajectory or (), resume=resume,
        overwrite=overwrite, command=_command(), data=data, model=model, conditions=condition or (),
        params=params, matrix=matrix, eigensolver=eigensolver, memory=memory, directions=direction or (),
        orthogonal=orthogonal, attack=attack, batchnorm=batchnorm, plane=plane, paths=path or (), layers=layers,
        pooling=pooling, projection=projection, on_disk=on_disk, trained_on=trained_on,
        budget=budget,
        measures=() if measure is None else [name.strip() for name in measure.split(",")], samples=samples,
        batch_size=batch_size, seed=seed, device=device, dtype=dtype,
    )  # fmt: skip
    _show(results, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results, figures and report.")] = Path("geomlab-demo"),
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Analyse and compare the two embedded checkpoints: a tiny CLIP, zero-shot and fine-tuned."""
    from geomlab.api import analyze as run
    from geomlab.data.embedded import checkpoint_path

    before, after = checkpoint_path("zero-shot"), checkpoint_path("ft")
    results = run(
        before, after, out=out, reference=before, resume=resume, overwrite=overwrite, command=_command(),
        # Of each kind of input one, so that it takes minutes on two slow cores.
        conditions=("clean", "pgd:eps=16/255", "domain:sketch"), budget="quick", samples=100,
    )  # fmt: skip
    _show(results, out)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of geomlab analyze.")],
    out: Annotated[Path, typer.Option(help="Folder for the comparison.")] = Path(defaults.COMPARISON),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a comparison of other folders in --out.")
    ] = False,
) -> None:
    """Tables and figures across checkpoints; the first one is what the others are compared with."""
    from geomlab.api import compare as run

    _show(run(*folders, out=out, overwrite=overwrite), out)


@app.command()
def figures(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Of geomlab analyze.")]) -> None:
    """Draw tables, figures and report anew from the stored results. Needs no torch."""
    from geomlab.render import render

    console.say(str(render(folder).report))


@app.command()
def info(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A checkpoint file, or a folder of transformers.")
    ],
) -> None:
    """What a file is, what it holds, and the command that would analyse it. Never runs code from it."""
    from geomlab.information import of

    console.say(of(checkpoint))


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    command = next(iter(sys.argv[1:] if args is None else args), "")
    onward = "; --resume (in place of any --overwrite) goes on" if command in ("analyze", "demo") else ""
    return console.run(app, "geomlab", args, interrupted=f"interrupted{onward}")


def _command() -> str:
    return shlex.join(["geomlab", *sys.argv[1:]])


def _show(results: "Results", out: Path) -> None:
    """The summary table, and where the report is."""
    from rich.console import Console

    from geomlab.render import summary_table

    screen, table = Console(), summary_table(results)
    text = str(table)
    if screen.is_terminal and screen.width >= max(map(len, text.splitlines()[:-1])):
        screen.print(table)
    else:
        console.say(text)
    several = len(results.checkpoints) > 1 and (out / "compare").is_dir()
    console.say(f"report: {out / 'compare' if several else out}/report.html")
