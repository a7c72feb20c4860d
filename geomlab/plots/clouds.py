"""Projected features as they are drawn: the points of each condition, and the centroids of their classes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geomlab.plots import select
from geomlab.plots.scales import Array
from geomlab.plots.style import Look, kind, looks

POINTS = 500  # of a condition: more hide one another, and make a report slow
ARROWS = 15  # classes with arrows and labels


@dataclass(frozen=True)
class Space:
    """What the features were projected onto.

    Attributes:
        variable: the coordinates, of dimensions sample and `dim`.
        dim: the axes.
        axis: what an axis is called.
        title: of the figure.
    """

    variable: str
    dim: str
    axis: str
    title: str


PCA = Space("projection", "component", "component", "Features on the principal components of the clean ones")
UMAP = Space("umap", "umap_axis", "UMAP", "Features in one UMAP, fitted on the clean ones")


@dataclass(frozen=True)
class Cloud:
    """A condition's points.

    Attributes:
        condition: its name.
        look: its colour and marker.
        points: (points, axes) coordinates.
        labels: (points,) class numbers.
        samples: (points,) numbers of the samples.
        classes: (classes,) numbers of those with a centroid here.
        centres: (classes, axes) their centroids here.
        clean: (classes, axes) the same on clean inputs, NaN where there are none.
        marked: classes with arrows and labels: those that moved most under any condition.
    """

    condition: str
    look: Look
    points: Array
    labels: NDArray[np.intp]
    samples: NDArray[np.intp]
    classes: NDArray[np.intp]
    centres: Array
    clean: Array
    marked: frozenset[int] = frozenset()

    @property
    def moved(self) -> NDArray[np.intp]:
        """Places in `classes` of those marked."""
        return np.flatnonzero([number in self.marked for number in self.classes.tolist()])


def clouds(data: xr.Dataset, space: Space) -> list[Cloud]:
    """The conditions of one checkpoint that were projected."""
    shown = looks(select.conditions(data))
    parts = list(select.per_condition(data, space.variable))
    clean = next((_means(one, space) for name, one in parts if kind(name) == "clean"), {})
    found = [_cloud(name, one, shown[name], space, clean) for name, one in parts]
    marked = _marked(found)
    return [replace(one, marked=marked) for one in found]


def axis_labels(data: xr.Dataset, space: Space) -> list[str]:
    """What each axis is; of principal components with their share of the clean features' variance."""
    count = data.sizes[space.dim]
    names = [f"{space.axis} {i + 1}" for i in range(count)]
    share = (
        select.numbers(data, "projection_variance").reshape(-1, count)
        if space == PCA
        else np.empty((0, count))
    )
    known = share[np.isfinite(share).all(axis=1)]
    return (
        [f"{name} ({100 * part:.0f} %)" for name, part in zip(names, known[0], strict=True)]
        if len(known)
        else names
    )


def limits(found: list[Cloud]) -> Array:
    """(axes, 2) ends of each axis that hold all points and centroids, with a margin."""
    everything = np.concatenate([part for one in found for part in (one.points, one.centres, one.clean)])
    low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
    margin = 0.04 * (high - low).max() or 1.0
    return np.stack([low - margin, high + margin], axis=1)


def said(data: xr.Dataset, space: Space) -> str:
    """A line on what is left out; "" where nothing is."""
    many = max((_finite(one, space).sum() for one in _cells(data, space)), default=0)
    left = [f"{POINTS} of up to {many} samples of a condition"] if many > POINTS else []
    left += [f"arrows of the {ARROWS} classes that moved most"] if data.sizes["class"] > ARROWS else []
    return "; ".join(left)


def _cells(data: xr.Dataset, space: Space) -> Iterator[xr.Dataset]:
    for _, checkpoint in select.per_checkpoint(data):
        for _, one in select.per_condition(checkpoint, space.variable):
            yield one


def _cloud(name: str, one: xr.Dataset, look: Look, space: Space, clean: dict[int, Array]) -> Cloud:
    points, labels = _points(one, space)
    kept = _kept(len(points))
    here = _means(one, space)
    before = clean if space != PCA else _named(one, "clean_class_projection")
    nowhere = np.full(points.shape[1], np.nan)
    return Cloud(
        name,
        look,
        points[kept],
        labels[kept],
        np.flatnonzero(_finite(one, space))[kept],
        np.array(list(here), dtype=np.intp),
        np.array(list(here.values())).reshape(len(here), -1),
        np.array([before.get(number, nowhere) for number in here]).reshape(len(here), -1),
    )


def _marked(found: list[Cloud]) -> frozenset[int]:
    """The classes that moved furthest under any condition, at most `ARROWS`."""
    furthest: dict[int, float] = {}
    for one in found:
        moves = np.nan_to_num(np.linalg.norm(one.centres - one.clean, axis=1)).tolist()
        for number, move in zip(one.classes.tolist(), moves, strict=True):
            furthest[number] = max(move, furthest.get(number, 0.0))
    return frozenset(sorted(furthest, key=lambda number: -furthest[number])[:ARROWS])


def _points(one: xr.Dataset, space: Space) -> tuple[Array, NDArray[np.intp]]:
    """Coordinates and classes of the samples that have both."""
    there = _finite(one, space)
    points = one[space.variable].transpose("sample", space.dim).values[there]
    return np.asarray(points, dtype=np.float64), select.numbers(one, "sample_label")[there].astype(np.intp)


def _finite(one: xr.Dataset, space: Space) -> NDArray[np.bool_]:
    points = one[space.variable].transpose("sample", space.dim).values
    return np.asarray(np.isfinite(points).all(axis=1) & np.isfinite(select.numbers(one, "sample_label")))


def _kept(count: int) -> NDArray[np.intp]:
    """Which points are drawn: at random, for samples may come in turns, but always the same."""
    return np.sort(np.random.default_rng(0).permutation(count)[:POINTS])


def _means(one: xr.Dataset, space: Space) -> dict[int, Array]:
    """The centroid of each class: as measured, or, where a projection is not linear, the middle of its points."""
    if space == PCA:
        return _named(one, "class_projection")
    points, labels = _points(one, space)
    return {int(number): points[labels == number].mean(axis=0) for number in np.unique(labels)}


def _named(one: xr.Dataset, variable: str) -> dict[int, Array]:
    """Class -> its row, of the classes that have one."""
    rows = one[variable].transpose("class", ...).values
    return {
        int(number): row
        for number, row in zip(one["class"].values, rows, strict=True)
        if np.isfinite(row).all()
    }
