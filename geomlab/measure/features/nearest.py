"""Numbers of nearest neighbours of one layer: exactly, or of many samples by an index with exact ones beside."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features import index, large, manifold, similarity
from geomlab.features.dimension import two_nn
from geomlab.features.extraction import normalised
from geomlab.features.index import Indexed, Neighbours, indexed
from geomlab.features.intervals import MIN_SAMPLES, halved, with_interval
from geomlab.features.large import Beside
from geomlab.features.neighbours import mutual_knn
from geomlab.measure.features.layer import UNDEFINED, Pair, Views
from geomlab.typing import Features

NEAREST = 10  # neighbours of the mutual k-NN, fewer of few samples; as in Huh et al. 2024
NUMBERS = ("lid", "delta_lid", "two_nn", "knn_to_clean", "weights_knn", "weights_delta_lid")


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of one layer under one condition.

    Attributes:
        views: its features.
        seed: of the index, and of which samples are checked.
        exact: numbers that the index gave, of the checked samples exactly; filled as they are asked for.
        recall: of the index; likewise.
    """

    views: Views
    seed: int = 0
    exact: dict[str, Pair] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)

    def numbers(self) -> dict[str, Pair]:
        """Each of `NUMBERS` with its standard error, NaN where it is not defined."""
        if len(self.views.here) >= index.LEAST:
            return dict.fromkeys(NUMBERS, UNDEFINED) | self._by_index()
        return {**self._dimensions(), **self._neighbours()}

    def _dimensions(self) -> dict[str, Pair]:
        view, bent = self.views, normalised(self.views.bent)
        lid, before = self._lid(view.unit, view.here), self._lid(view.unit_clean, view.clean)
        there = self._lid(bent, view.bent)
        found = {"lid": self._mean("lid", lid)}
        if view.paired:
            found["delta_lid"] = self._mean("delta_lid", lambda r: lid(r) - before(r))
        else:
            found["delta_lid"] = _apart(found["lid"], self._mean("delta_lid", before, len(view.clean)))
        found["two_nn"] = (
            UNDEFINED if view.constant else self._by_halves("two_nn", lambda r: two_nn(view.unit[r]))
        )
        found["weights_delta_lid"] = self._mean("weights_delta_lid", lambda r: there(r) - lid(r))
        return found

    def _neighbours(self) -> dict[str, Pair]:
        view = self.views
        return {
            "knn_to_clean": self._shared("knn_to_clean", view.here, view.clean) if view.paired else UNDEFINED,
            "weights_knn": self._shared("weights_knn", view.bent, view.here),
        }

    def _shared(self, name: str, x: Features, y: Tensor) -> Pair:
        if len(x) < MIN_SAMPLES:
            return UNDEFINED
        try:
            found = with_interval(lambda a, b: mutual_knn(a, b, k=min(NEAREST, len(a) - 2)), x, y)
        except ValueError as error:
            self.views.reasons[name] = str(error)
            return UNDEFINED
        return float(found.value), float(found.stderr)

    def _lid(self, unit: Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The LID of the rows that are kept among themselves; NaN of constant ones."""

        def of_rows(rows: Tensor) -> Tensor:
            if similarity.is_constant(x[rows], x.dtype):
                return unit.new_full((len(rows),), math.nan)
            return manifold.lid(unit[rows], self.views.k)

        return of_rows

    def _mean(self, name: str, values: Callable[[Tensor], Tensor], n: int | None = None) -> Pair:
        """Mean over the samples where it is defined; its error the larger of that from halves and that of a mean.

        From halves it is too small where n is below about 5k, as that of a mean is where samples share neighbours
        (ours, by coverage).
        """
        value, error = self._by_halves(name, lambda r: values(r).nanmean(), n)
        if math.isnan(value):
            return UNDEFINED
        return value, max(error, stats.mean_of_defined(values(torch.arange(n or len(self.views.here))))[1])

    def _by_halves(self, name: str, statistic: Callable[[Tensor], Tensor], n: int | None = None) -> Pair:
        """Of dimensions by nearest neighbours; NaN, with the reason, where they are not defined."""
        try:
            found = halved(statistic, n or len(self.views.here))
        except ValueError as error:
            self.views.reasons[name] = str(error)
            return UNDEFINED
        return float(found.value), float(found.stderr)

    def _by_index(self) -> dict[str, Pair]:
        view = self.views
        sides = {"here": view.here, "bent": view.bent, "clean": view.clean}
        if any(similarity.is_constant(x, x.dtype) for x in sides.values()):
            return {}
        near = {name: self._indexed(normalised(x)) for name, x in sides.items()}
        lids = {name: large.lid(_first(one, view.k)) for name, one in near.items()}
        asked = {
            "lid": lids["here"],
            "weights_knn": large.mutual_knn(near["bent"], near["here"], k=NEAREST),
        }
        try:
            asked["two_nn"] = large.two_nn(view.unit, near["here"], self._generator())
        except ValueError as error:
            view.reasons["two_nn"] = str(error)
        if view.paired:
            asked["knn_to_clean"] = large.mutual_knn(near["here"], near["clean"], k=NEAREST)
        for name, one in asked.items():
            self.exact[name], self.recall[name] = (one.exact, one.exact_stderr), one.recall
        found = {name: (one.value, one.stderr) for name, one in asked.items()}
        found["weights_delta_lid"] = self._change("weights_delta_lid", near["bent"], near["here"])
        if view.paired:
            found["delta_lid"] = self._change("delta_lid", near["here"], near["clean"])
        else:
            found["delta_lid"] = _apart(
                *((lids[name].value, lids[name].stderr) for name in ("here", "clean"))
            )
            self.exact["delta_lid"] = _apart(*(_exactly(lids[name]) for name in ("here", "clean")))
        return found

    def _change(self, name: str, here: Indexed, before: Indexed) -> Pair:
        """Mean change of the LID of the same samples; its error is that of a mean, as of `large.lid`."""
        here, before = (_first(one, self.views.k) for one in (here, before))
        found, exactly = (
            manifold.lid_of(a.distances) - manifold.lid_of(b.distances)
            for a, b in ((here.found, before.found), (here.exact, before.exact))
        )
        self.exact[name] = stats.mean_of_defined(exactly)
        return stats.mean_of_defined(found)

    def _indexed(self, unit: Features) -> Indexed:
        return indexed(unit, max(self.views.k, 2 * NEAREST), self._generator())

    def _generator(self) -> torch.Generator:
        """Alike each time, so that the same samples are checked."""
        return torch.Generator().manual_seed(self.seed)


def _first(near: Indexed, k: int) -> Indexed:
    """The first k neighbours alone."""
    found, exactly = (
        Neighbours(one.indices[:, :k], one.distances[:, :k]) for one in (near.found, near.exact)
    )
    return replace(near, found=found, exact=exactly)


def _exactly(one: Beside) -> Pair:
    return one.exact, one.exact_stderr


def _apart(here: Pair, before: Pair) -> Pair:
    """The difference of two means of other samples."""
    return here[0] - before[0], math.hypot(here[1], before[1])
