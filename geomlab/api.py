"""What a script or a notebook calls; the command line is a thin face of it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from geomlab import defaults
from geomlab.environment import machine, versions
from geomlab.errors import UserError
from geomlab.output import Output, begin_comparison
from geomlab.results import Cells, Results, Store, open_results
from geomlab.results.names import distinct, given_once

if TYPE_CHECKING:  # these import torch, which `import geomlab.api` does not
    from geomlab.checkpoint import Checkpoint
    from geomlab.data.source import Source
    from geomlab.study import Study
    from geomlab.subject import Subject


DIRECTIONS = ("random", "random")
SLICES = ("landscape",)
# Options that say how only some measures are made, and those measures; directions and the trajectory are others.
CHANGES = {
    "matrix": ("curvature",),
    "eigensolver": ("curvature",),
    "orthogonal": SLICES,
    "plane": SLICES,
    "attack": (*SLICES, "paths"),
    "batchnorm": (*SLICES, "paths"),
    "layers": ("features",),
    "pooling": ("features",),
    "projection": ("features",),
    "on_disk": ("features",),
}


class Options(TypedDict, total=False):
    """Keyword arguments of `analyze`: the command line's options, of which --condition and --measure are lists here.

    Attributes:
        data: data SPEC; default: what the checkpoint says.
        model: model SPEC; default: what the checkpoint says.
        conditions: condition SPECs; default: the data source's own.
        measures: of accuracy, curvature, landscape, features; default all.
        params: subspace of the parameters: full (default), visual, lora or a regular expression.
        matrix: whose curvature: hessian (default), gauss-newton, or finite-difference for networks too large.
        eigensolver: geomlab (default); pyhessian is asked as well, on a copy, and differences are reported.
        memory: GiB that curvature may take for kept graphs and Lanczos vectors, and a third of it features of clean
            inputs, another those of a condition; default 12.
        directions: up to two direction SPECs of the loss slices; default random, random.
        orthogonal: whether the second direction loses its part along the first.
        attack: of slices and paths: fixed (default), adversarial inputs crafted at the checkpoint; anew, at each point.
        batchnorm: of both: fixed (default), statistics that the checkpoints have; anew, on clean inputs at each point.
        plane: SPEC of the slices' plane: grid (default) or adaptive:error=0.02,points=500, which measures as few points
            as its surface needs for that error, in nats up to a loss of 1 and relative beyond.
        paths: SPECs of paths from the reference to the checkpoint; default none.
        layers: regular expression of the layers whose features are compared; default the blocks.
        pooling: of their tokens: mean (default), class (the first token), none (all entries).
        projection: of features, for the eye: pca (default), or umap as well, which needs umap-learn.
        on_disk: precision of features that do not fit the memory: float32 (default), as computed, or float16.
        trained_on: samples that the checkpoints were trained on, n of the bound; default not known, and swept.
        budget: quick, standard (default) or paper.
        samples: a condition; default: the budget's, of a large network fewer
            where a measure takes hundreds of passes, and then fewer probes, products and points.
        batch_size: samples in memory at a time; default 256. Where memory runs out, half, and the results say so.
        seed: of everything random; default 0.
        device: auto (default), cpu or cuda.
        dtype: float32 (default) or float64.
    """

    data: str | None
    model: str | None
    conditions: Sequence[str]
    measures: Sequence[str]
    params: str
    matrix: str
    eigensolver: str
    memory: float
    directions: Sequence[str]
    orthogonal: bool
    attack: str
    batchnorm: str
    paths: Sequence[str]
    plane: str
    layers: str | None
    pooling: str
    projection: str
    on_disk: str
    trained_on: int | None
    budget: str
    samples: int | None
    batch_size: int
    seed: int
    device: str
    dtype: str


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Settings:
    """Options with their defaults filled in and checked."""

    data: str | None = None
    model: str | None = None
    conditions: Sequence[str] = ()
    measures: Sequence[str] = ()
    params: str = "full"
    matrix: str = "hessian"
    eigensolver: str = "geomlab"
    memory: float = 12
    directions: Sequence[str] = ()
    orthogonal: bool = False
    attack: str = "fixed"
    batchnorm: str = "fixed"
    paths: Sequence[str] = ()
    plane: str = "grid"
    layers: str | None = None
    pooling: str = "mean"
    projection: str = "pca"
    on_disk: str = "float32"
    trained_on: int | None = None
    budget: str = "standard"
    samples: int | None = None
    batch_size: int = 256
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"

    @classmethod
    def of(cls, options: Options) -> "Settings":
        """Fill in and check.

        Raises:
            UserError: naming the first option that cannot be used.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            raise UserError(
                f"{'.'.join(map(str, first['loc']))}={first['input']!r}: {first['msg']}"
            ) from error

    def __post_init__(self) -> None:
        from geomlab.batchnorm import MODES
        from geomlab.features.extraction import POOLINGS
        from geomlab.measure.budget import BUDGETS, MEASURES
        from geomlab.measure.curvature import EIGENSOLVERS, MATRICES
        from geomlab.measure.features import PRECISIONS, PROJECTIONS
        from geomlab.measure.landscape import ATTACKS
        from geomlab.measure.paths import parsed

        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown:
            raise UserError(f"no measure '{unknown[0]}'; there are {', '.join(MEASURES)}")
        if len(set(self.conditions)) < len(self.conditions):
            raise UserError(f"a condition is given twice: {', '.join(self.conditions)}")
        for name, value, known in (
            ("budget", self.budget, tuple(BUDGETS)),
            ("dtype", self.dtype, ("float32", "float64")),
            ("matrix", self.matrix, tuple(MATRICES)),
            ("eigensolver", self.eigensolver, EIGENSOLVERS),
            ("attack", self.attack, ATTACKS),
            ("batchnorm", self.batchnorm, MODES),
            ("pooling", self.pooling, POOLINGS),
            ("projection", self.projection, PROJECTIONS),
            ("on-disk", self.on_disk, PRECISIONS),
        ):
            if value not in known:
                raise UserError(f"no {name} '{value}'; there are {', '.join(known)}")
        if self.eigensolver == "pyhessian" and self.matrix != "hessian":
            raise UserError("pyhessian knows the Hessian only; leave --matrix or --eigensolver out")
        if len(self.directions) > 2:
            raise UserError(
                f"a slice has two directions, got {len(self.directions)}: {', '.join(self.directions)}"
            )
        wanted = [(one.kind, one.bends, one.steps) for one in map(parsed, self.paths)]
        if len(set(wanted)) < len(wanted):
            raise UserError(f"a path is given twice: {', '.join(self.paths)}")
        if not 0 < self.memory * 2**30 < 2**63:
            raise UserError(f"expected --memory in GiB, above 0 and finite, got {self.memory:g}")
        if self.batch_size < 1 or (self.samples is not None and self.samples < 2):
            raise UserError("expected a batch size of at least 1 and at least 2 samples")
        if self.trained_on is not None and self.trained_on < 1:
            raise UserError(f"expected --trained-on of at least 1 sample, got {self.trained_on}")

    @property
    def axes(self) -> tuple[str, str]:
        """The two directions of the slices."""
        first, second = (*self.directions, *DIRECTIONS[len(self.directions) :])
        return first, second


def analyze(
    *checkpoints: Path | str,
    out: Path | str = defaults.OUT,
    reference: Path | str | None = None,
    trajectory: Sequence[Path | str] = (),
    resume: bool = False,
    overwrite: bool = False,
    command: str = "geomlab.analyze(…)",
    **options: Unpack[Options],
) -> Results:
    """Measure checkpoints, write the folder `out` with all its figures and the report, and return the results.

    Args:
        checkpoints: files, or model SPECs that name pretrained weights.
        out: folder; with several checkpoints a subfolder each, and `compare/`.
        reference: checkpoint that features and parameters are compared with.
        trajectory: other checkpoints, as of earlier steps: directions `pca:1`, `pca:2` are made of them, and their
            places on the plane of the slices are shown.
        resume: keep the cells that are in `out` and compute what is missing.
        overwrite: replace earlier results in `out`; they are kept in `out/.replaced` until the new ones are complete.
        command: recorded as what was run.
        **options: see `Options`.

    Returns:
        The results, as `geomlab.open(out)` gives them.

    Raises:
        UserError: on input that cannot be used; nothing is then lost.
    """
    from geomlab.progress import bar
    from geomlab.render import DRAWN, drawings, render

    if not checkpoints:
        raise UserError("no checkpoint given; expected the path of at least one file")
    if resume and overwrite:
        raise UserError("--resume keeps what --overwrite replaces; give one of them")
    settings, root, paths = Settings.of(options), Path(out), [Path(path) for path in checkpoints]
    if settings.trained_on and reference is None:
        raise UserError("--trained-on is of the bound, whose prior is the reference; give --reference")
    if settings.paths and reference is None:
        raise UserError("--path leads from the reference to the checkpoint; give --reference")
    output = Output.of(root, paths, DRAWN)
    with output.in_view():
        output.check(resume=resume, overwrite=overwrite)
        planned = _plan(paths, output, reference, trajectory, settings, resume)
        with bar(len(planned), "looking at the inputs") as progress:
            for study, _, _ in planned:
                study.check()
                progress.advance()
        announce(planned)
        with output.writing(overwrite=overwrite):
            for position, (study, store, manifest) in enumerate(planned):
                store.write_manifest(
                    {"command": command, "position": position, **manifest, **study.describe()}
                )
            steps = sum(len(study.cells) for study, _, _ in planned) + drawings(len(planned))
            with bar(steps, "analysing") as progress:
                for study, store, _ in planned:
                    study.run(store, progress)
                cells = Cells()
                render(root, progress, cells)
    return cells.open(root)


def announce(planned: "list[Planned]") -> None:
    """Say how long it will take, where that is long: on a terminal from half a minute on, elsewhere from ten."""
    times = [study.remaining(store) for study, store, _ in planned]
    usual, most = (sum(column) for column in zip(*times, strict=True))
    if usual > (30 if sys.stderr.isatty() else 600):
        sys.stderr.write(
            f"forecast: {duration(usual)}, at most {duration(most)}; fewer --samples or a smaller --budget take less, "
            "and --resume goes on after Ctrl-C\n"
        )


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`: to two digits, as a forecast is."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.2g} {unit}"
    return f"about {seconds:.2g} s"


def compare(*folders: Path | str, out: Path | str = defaults.COMPARISON, overwrite: bool = False) -> Results:
    """Compare checkpoints that were analysed before: tables, figures and a report of differences.

    Args:
        folders: that `analyze` wrote; the first checkpoint is what the others are compared with.
        out: folder to write into.
        overwrite: replace a comparison of other folders; one of the same folders is drawn anew in any case.

    Returns:
        The results of all folders, joined.

    Raises:
        UserError: if there are fewer than two checkpoints, a folder holds no results, or `out` holds something else.
    """
    from geomlab.progress import bar
    from geomlab.render import render_comparison

    if not folders:
        raise UserError("no folder given; expected folders that geomlab analyze wrote")
    results = open_results(*folders)
    if len(results.checkpoints) < 2:
        raise UserError(f"{results.folder}: holds one checkpoint; give folders of at least two to compare")
    begin_comparison(Path(out), [Path(folder) for folder in folders], overwrite=overwrite)
    with bar(1, "drawing") as progress:
        render_comparison(results, Path(out))
        progress.advance()
    return results


def load(checkpoint: Path | str, *, model: str | None = None, data: str | None = None) -> "Subject":
    """The network of a checkpoint as a `geomlab.subject.Subject`.

    Args:
        checkpoint: file.
        model: model SPEC, where the checkpoint does not say its network.
        data: data SPEC, whose class names make the zero-shot head of a CLIP that has none.

    Raises:
        UserError: if it cannot be loaded.
    """
    from geomlab import pretrained, subject

    read = pretrained.read(checkpoint)
    return subject.load(read, model=model, labels=_source(read, data).labels if data else None)


Planned = tuple["Study", Store, dict[str, Any]]


def _plan(
    paths: list[Path],
    output: Output,
    reference: Path | str | None,
    trajectory: Sequence[Path | str],
    settings: Settings,
    resume: bool,
) -> list[Planned]:
    """For each checkpoint its study, its store, and what `study.json` says beside the cells."""
    import torch

    from geomlab import pretrained, subject
    from geomlab.architectures import Labels
    from geomlab.devices import choose
    from geomlab.params import select
    from geomlab.subject import Subject

    place = choose(settings.device), getattr(torch, settings.dtype)
    read = [pretrained.read(path) for path in paths]
    their = pretrained.read(reference) if reference is not None else None
    given_once([Path(path) for path in trajectory])
    passed = [pretrained.read(path) for path in trajectory]
    called = distinct(
        [one.name for one in passed],
        [Path(path).parent.name for path in trajectory],
        list(map(str, trajectory)),
    )
    baselines: dict[Labels | None, Subject] = {}
    waypoints: dict[Labels | None, tuple[Subject, ...]] = {}
    planned = []
    for (name, store), one in zip(output.stores.items(), read, strict=True):
        source = _source(one, settings.data)
        network = subject.load(one, model=settings.model, labels=source.labels).to(*place).named(name)
        if their and source.labels not in baselines:
            loaded = subject.load(their, model=_unsaid(their, settings.model), labels=source.labels)
            baselines[source.labels] = loaded.to(*place)
        baseline = baselines.get(source.labels)
        if source.labels not in waypoints:
            waypoints[source.labels] = tuple(
                subject.load(other, model=_unsaid(other, settings.model), labels=source.labels)
                .to(*place)
                .named(short)
                for other, short in zip(passed, called, strict=True)
            )
        identity: dict[str, Any] = {
            "checkpoint": _identity(one, network, name),
            "reference": _identity(their, baseline, their.name) if their and baseline else None,
            "settings": {
                "data": source.spec,
                "params": settings.params,
                "matrix": settings.matrix,
                "eigensolver": settings.eigensolver,
                "directions": list(settings.axes),
                "orthogonal": settings.orthogonal,
                "attack": settings.attack,
                "batchnorm": settings.batchnorm,
                **({"paths": list(settings.paths)} if settings.paths else {}),
                "plane": settings.plane,
                "trajectory": [str(other.path) for other in passed],
                "layers": settings.layers,
                "pooling": settings.pooling,
                "projection": settings.projection,
                "on_disk": settings.on_disk,
                **({"trained_on": settings.trained_on} if settings.trained_on else {}),
                "budget": settings.budget,
                "samples": settings.samples,
                "seed": settings.seed,
                "dtype": settings.dtype,
                "device": network.device.type,
                "batch_size": settings.batch_size,
            },
            "versions": versions(),
            "machine": machine(),
        }
        old = store.manifest() if resume else None
        select(network.weights, settings.params)
        network.layers(settings.layers)
        old = _continued(store, old, identity)
        identity["earlier_versions"] = _earlier(old, identity["versions"])
        study = _study(
            network, baseline, waypoints[source.labels], source, settings, old, store if old else None
        )
        planned.append((study, store, identity))
    return planned


def _study(
    network: "Subject",
    baseline: "Subject | None",
    trajectory: "tuple[Subject, ...]",
    source: "Source",
    settings: Settings,
    old: dict[str, Any] | None,
    kept: Store | None,
) -> "Study":
    """The study asked for; where one is resumed, together with what it was."""
    from geomlab.data.condition import parse_conditions
    from geomlab.measure.budget import BUDGETS, MEASURES, measurements
    from geomlab.study import Study

    budget = BUDGETS[settings.budget]
    specs = [c["spec"] for c in old["conditions"]] if old else source.conditions
    names = [m["name"] for m in old["measurements"]] if old else MEASURES
    if settings.conditions:
        specs = [*(specs if old else ()), *settings.conditions]
    if settings.measures:
        names = [*(names if old else ()), *settings.measures]
    if not old:
        _check_changes(settings, [*names, *(["paths"] if settings.paths else [])], trajectory)
    conditions = parse_conditions(
        list(dict.fromkeys(specs)),
        source,
        n=settings.samples or budget.samples,
        seed=settings.seed,
        batch_size=settings.batch_size,
    )
    most = inf
    if not settings.samples and budget.work < inf:  # samples that are asked for are taken by all measures
        some, count = replace(conditions[0], n=2), len(source.index(source.domains[0]).labels)
        budget, most = budget.of(network, some.clean(network).images, count)
    chosen = measurements(
        names,
        budget,
        subspace=settings.params,
        reference=baseline,
        seed=settings.seed,
        curvature={
            "matrix": settings.matrix,
            "eigensolver": settings.eigensolver,
            "memory": settings.memory * 2**30,
        },
        landscape={
            "axes": settings.axes,
            "orthogonal": settings.orthogonal,
            "attack": settings.attack,
            "batchnorm": settings.batchnorm,
            "plane": settings.plane,
            "trajectory": trajectory,
        },
        features={
            "layers": settings.layers,
            "pooling": settings.pooling,
            "projection": settings.projection,
            "on_disk": settings.on_disk,
            "memory": settings.memory * 2**30 / 3,
        },
        paths=settings.paths,
        trained_on=settings.trained_on,
    )
    digest = baseline.digest if baseline is not None else None
    return Study(network, digest, conditions, chosen, settings.seed, kept, most=most)


def _continued(store: Store, old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest to go on from, if it is of the same study.

    Raises:
        UserError: naming what differs.
    """
    if old is None:
        return None
    for what in ("checkpoint", "reference"):
        before, now = ((m[what] or {}).get("digest") for m in (old, new))
        if before != now:
            raise UserError(
                f"{store.folder}: holds results of another {what}, or of another --model; "
                "choose another --out, or --overwrite"
            )
    usual = Settings()
    since = ("plane", "batchnorm", "pooling", "projection", "on_disk")
    before = {name: getattr(usual, name) for name in since}  # before there was another
    then, today = before | old["settings"], new["settings"]
    changed = [
        f"{key} {then.get(key)} (now {today.get(key)})"
        for key in {**today, **then}
        if key not in ("batch_size", "trained_on") and then.get(key) != today.get(key)
    ]
    if changed:
        raise UserError(
            f"{store.folder}: was begun with {', '.join(changed)}; resume with the same, or choose another --out"
        )
    return old


def _earlier(old: dict[str, Any] | None, now: dict[str, str]) -> list[dict[str, str]]:
    """Versions of libraries that cells of a resumed study may have been computed with, but for the present ones."""
    before = [*old.get("earlier_versions", []), old["versions"]] if old else []
    return [one for i, one in enumerate(before) if one != now and one not in before[:i]]


def _check_changes(settings: Settings, measures: Sequence[str], trajectory: "Sequence[Subject]") -> None:
    """Refuse an option that says how something is measured that is not measured.

    Raises:
        UserError: naming it.
    """
    usual = Settings()
    given = [name for name in CHANGES if getattr(settings, name) not in (getattr(usual, name), "")]
    wanted = {name: CHANGES[name] for name in given}
    wanted |= {"direction": SLICES} if settings.axes != usual.axes else {}
    wanted |= {"trajectory": SLICES} if trajectory else {}
    of_bound = [name for name in ("curvature", "features") if name not in measures]
    wanted |= {"trained-on": tuple(of_bound)} if settings.trained_on and of_bound else {}
    for option, changed in wanted.items():
        if not set(changed) & set(measures):
            raise UserError(
                f"--{option.replace('_', '-')} changes nothing of {', '.join(measures)}; add {changed[0]} to "
                "--measure, or leave it out"
            )


def _source(read: "Checkpoint", data: str | None) -> "Source":
    from geomlab.data.sources import open_recorded

    source = open_recorded(read.metadata.get("data"), data)
    if source is None:
        raise UserError(f"{read.path}: does not say its data; give --data SPEC (for example folder:ROOT)")
    return source


def _unsaid(read: "Checkpoint", model: str | None) -> str | None:
    """The model SPEC for a reference: none where it says its own, which may be another network's."""
    from geomlab.architectures import runs_code

    return model if read.architecture is None or runs_code(read.architecture["spec"]) else None


def _identity(read: "Checkpoint", network: "Subject", name: str) -> dict[str, Any]:
    return {
        "name": name,
        "path": str(read.path),
        "sha256": read.sha256,
        "digest": network.digest,
        "architecture": network.architecture,
    }
