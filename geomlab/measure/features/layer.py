"""The numbers of one layer under one condition, each with its standard error by the jackknife over samples."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab import stats
from geomlab.features import classes, discrepancy, manifold, similarity
from geomlab.features.canonical import pwcca, svcca
from geomlab.features.collapse import collapse
from geomlab.features.dimension import effective_rank, participation_ratio, spectrum
from geomlab.features.drift import gram_drift_of_classes
from geomlab.features.extraction import normalised
from geomlab.features.intervals import MIN_SAMPLES, Interval, exponential, jackknifed, with_interval
from geomlab.features.kernel import rbf_cka
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.outliers import Measure, outlier_shift
from geomlab.features.rsa import rsa
from geomlab.features.shift import centroid_shifts, relative
from geomlab.features.uniformity import alignment, uniformity
from geomlab.typing import Features, Labels

Pair = tuple[float, float]
UNDEFINED: Pair = (math.nan, math.nan)
COMPONENTS = 64  # principal components whose shares of the variance are stored: ours
# Beside the CKA, which is taken of all pairs of layers at once (`matrices`).
TO_CLEAN: Mapping[str, Measure] = {
    "gram_drift": similarity.gram_drift,
    "angular_to_clean": similarity.angular_distance,
    "rsa_to_clean": rsa,
    "svcca_to_clean": svcca,
    "pwcca_to_clean": pwcca,
}
TO_REFERENCE: Mapping[str, Measure] = {
    "reference_gram_drift": similarity.gram_drift,
    "reference_procrustes": similarity.procrustes,
}
TO_UNPERTURBED: Mapping[str, Measure] = {
    "weights_gram_drift": similarity.gram_drift,
    "weights_angular": similarity.angular_distance,
}
# These need the same samples seen clean.
TWINS = (
    *TO_CLEAN,
    "cka_to_clean",
    "rbf_cka_to_clean",
    "knn_to_clean",
    "alignment_to_clean",
    "gram_volume",
    "cka_outliers",
)


@dataclass(frozen=True, eq=False)
class Views:
    """Features of a layer, as they were computed.

    Attributes:
        here: (n, d) of the condition.
        clean: (m, d) of its clean counterparts.
        bent: (n, d) of the condition at perturbed weights.
        labels: (n,) in 0 … C−1.
        clean_labels: (m,).
        paired: whether row i of all is of the same sample.
        k: neighbours of the LID; below 2 there is none.
        some: (m,) the samples of which all pairs are looked at: of many, a part of them.
        reasons: what could not be measured, and why; filled as numbers are asked for, as the next.
        left_out: (groups,) numbers without each group of samples, of those that have them.
    """

    here: Features
    clean: Tensor
    bent: Tensor
    labels: Labels
    clean_labels: Tensor
    paired: bool
    k: int
    some: Tensor
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """C: classes that labels may name."""
        return 1 + int(max(self.labels.max(), self.clean_labels.max()))

    @cached_property
    def unit(self) -> Features:
        """The condition's, of unit length, in fp64."""
        return normalised(self.here)

    @cached_property
    def unit_clean(self) -> Features:
        """The clean ones, likewise."""
        return normalised(self.clean)

    @cached_property
    def constant(self) -> bool:
        """Whether the condition's vary by no more than rounding."""
        return similarity.is_constant(self.here, self.here.dtype)

    def numbers(self) -> dict[str, Pair]:
        """All of them by name, with their standard errors; NaN where one is not defined (results/FORMAT.md)."""
        return {**self._to_clean(), **self._of_classes(), **self._of_dimension(), **self._to_unperturbed()}

    def of_each_class(self) -> dict[str, Tensor]:
        """(C,) each: cosine of a class's centroids here and clean, and drift of its own Gram matrix, with errors."""
        drift = self._class_drift()
        return {
            "class_cosine": self._turned.value[1:],
            "class_cosine_stderr": self._turned.stderr[1:],
            "class_gram_drift": drift.value,
            "class_gram_drift_stderr": drift.stderr,
        }

    def to_reference(self, theirs: Tensor | None) -> dict[str, Pair]:
        """Similarities to the reference's features on the same inputs, NaN where it has no such layer."""
        if theirs is None:
            return dict.fromkeys(TO_REFERENCE, UNDEFINED)
        return {
            name: self._similarity(name, measure, self.here, theirs) for name, measure in TO_REFERENCE.items()
        }

    def outliers(self, theirs: Tensor | None) -> dict[str, float]:
        """How far each CKA moves when the samples of largest norm leave; no error of it is taken.

        Args:
            theirs: (n, d') the reference's features on the same inputs, or None.
        """
        pairs = {
            "cka_outliers": (similarity.cka, self.here, self.clean if self.paired else None),
            "rbf_cka_outliers": (rbf_cka, self.here, self.clean if self.paired else None),
            "weights_cka_outliers": (similarity.cka, self.bent, self.here),
            "reference_cka_outliers": (similarity.cka, self.here, theirs),
        }
        found = dict.fromkeys(pairs, math.nan)
        for name, (measure, x, y) in pairs.items():
            if y is not None and len(x) >= MIN_SAMPLES:
                rows = self.some if measure is rbf_cka else slice(None)
                found[name] = float(outlier_shift(measure, x[rows], y[rows]))
        return found

    def _to_clean(self) -> dict[str, Pair]:
        found = {
            name: self._similarity(name, measure, self.here, self.clean, paired=self.paired)
            for name, measure in TO_CLEAN.items()
        }
        if not self.paired:
            return found | {"alignment_to_clean": UNDEFINED, "gram_volume": UNDEFINED}
        found["alignment_to_clean"] = self._mean("alignment_to_clean", alignment(self.here, self.clean))
        volume = manifold.gram_volume(self.clean, self.here, self.bent)
        return found | {"gram_volume": self._mean("gram_volume", volume)}

    def _of_classes(self) -> dict[str, Pair]:
        count = self.count
        moved = self._by_class(
            lambda x, a, y, b: centroid_shifts(x, a, y, b, count, paired=self.paired).nanmean()
        )
        found = {
            "centroid_cosine": self._turned_on_average(),
            "input_shift": self._interval("input_shift", moved, *self.sizes),
            "weight_shift": self._interval("weight_shift", self._moved_by_weights, *self.sizes),
            "discrepancy": self._interval(
                "discrepancy", self._by_class(self._discrepancy, unit=True), *self.sizes
            ),
        }
        for name in ("input_shift", "weight_shift", "discrepancy"):
            if math.isnan(found[name][0]) and not self.constant:
                self.reasons.setdefault(name, "too few samples a class, or clean centroids not told from 0")
        names = ("class_separation", "nc1", "nc2_norms", "nc2_angles", "nc2_simplex")
        return found | self._several(names, self._collapsed, logarithms=("nc1",))

    def _moved_by_weights(self, rows: Tensor, others: Tensor | None = None) -> Tensor:
        """As `centroid_shifts`, of these inputs at perturbed weights, by the norm of the clean centroids too."""
        labels, clean = self.labels[rows], rows if others is None else others
        moved = discrepancy.mean_distances(
            self.bent[rows], labels, self.here[rows], labels, self.count, paired=True
        )
        norms = discrepancy.squared_norms(self.clean[clean], self.clean_labels[clean], self.count)
        return relative(moved, norms).nanmean()

    def _of_dimension(self) -> dict[str, Pair]:
        x = self.here
        return {
            "participation_ratio": self._interval("participation_ratio", lambda r: participation_ratio(x[r])),
            "effective_rank": self._spectrum["effective_rank"],
            "uniformity": self._interval("uniformity", self._uniformity, len(self.some)),
        }

    def variance_shares(self) -> Tensor:
        """(2, COMPONENTS) the share of the variance along each principal component, and its standard error.

        NaN beyond the layer's width, and where no spectrum is defined.
        """
        width = min(self.here.shape[1], COMPONENTS)
        pairs = [self._spectrum[str(i)] if i < width else UNDEFINED for i in range(COMPONENTS)]
        return torch.tensor(pairs, dtype=torch.float64).T

    @cached_property
    def _spectrum(self) -> dict[str, Pair]:
        """The effective rank, and the shares of the first components by their number; 0 where samples are too few."""

        def shares(rows: Tensor) -> Tensor:
            found = spectrum(self.here[rows])
            first = F.pad(found, (0, max(0, COMPONENTS - len(found))))[:COMPONENTS]
            return torch.cat([effective_rank(found)[None], first / found.sum()])

        return self._several(("effective_rank", *map(str, range(COMPONENTS))), shares)

    def _uniformity(self, rows: Tensor) -> Tensor:
        return uniformity(self.here[self.some[rows]])

    def _to_unperturbed(self) -> dict[str, Pair]:
        """What the perturbation of the weights does to these inputs' features."""
        found = {
            name: self._similarity(name, measure, self.bent, self.here)
            for name, measure in TO_UNPERTURBED.items()
        }
        found["weights_cka"] = cka_with_error(self.bent, self.here)
        bent, labels = normalised(self.bent), self.labels

        def turned(rows: Tensor) -> Tensor:
            pair = (bent[rows], labels[rows]), (self.unit[rows], labels[rows])
            return classes.centroid_cosines(*pair[0], *pair[1], self.count).nanmean()

        found["weights_centroid_cosine"] = self._interval("weights_centroid_cosine", turned)
        return found

    def _class_drift(self) -> Interval:
        if not self.paired or len(self.here) < MIN_SAMPLES:
            nothing = torch.full((self.count,), math.nan, dtype=torch.float64)
            return Interval(nothing, nothing, nothing, nothing)
        return jackknifed(
            lambda r: gram_drift_of_classes(self.here[r], self.clean[r], self.labels[r], self.count),
            len(self.here),
        )

    @cached_property
    def _turned(self) -> Interval:
        """(1 + C,) the mean over classes of the cosines of their centroids, and each; of constant features too."""

        def cosines(x: Tensor, labels: Tensor, y: Tensor, clean_labels: Tensor) -> Tensor:
            found = classes.centroid_cosines(x, labels, y, clean_labels, self.count)
            return torch.cat([found.nanmean()[None], found])

        return jackknifed(self._by_class(cosines, unit=True), *self.sizes)

    def _turned_on_average(self) -> Pair:
        if self._turned.left_out is not None:
            self.left_out["centroid_cosine"] = self._turned.left_out[:, 0]
        return float(self._turned.value[0]), float(self._turned.stderr[0])

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the independent samples: a condition's twins are none of their own."""
        return (len(self.here),) if self.paired else (len(self.here), len(self.clean))

    def _by_class(self, measure: Callable[..., Tensor], *, unit: bool = False) -> Callable[..., Tensor]:
        """What a measure of features and labels, here and clean, is of the rows that are kept of either."""
        x, y = (self.unit, self.unit_clean) if unit else (self.here, self.clean)

        def of_rows(rows: Tensor, others: Tensor | None = None) -> Tensor:
            clean = rows if others is None else others
            return measure(x[rows], self.labels[rows], y[clean], self.clean_labels[clean])

        return of_rows

    def _discrepancy(self, x: Tensor, labels: Tensor, y: Tensor, clean_labels: Tensor) -> Tensor:
        apart = discrepancy.class_distances(y, clean_labels, x, labels, self.count, paired=self.paired)
        return apart.weighted(discrepancy.shared_priors(clean_labels, labels, self.count))

    def _collapsed(self, rows: Tensor) -> Tensor:
        x, labels = self.here[rows], self.labels[rows]
        found = collapse(x, labels, self.count)
        spread = classes.scatter(x, labels, self.count)
        between, within = spread.between.nanmean(), spread.within.nanmean()
        nc1 = found.nc1.clamp(min=torch.finfo(found.nc1.dtype).tiny).log()
        return torch.stack([between / (between + within), nc1, found.norms, found.angles, found.simplex])

    def _interval(self, name: str, statistic: Callable[..., Tensor], *sizes: int) -> Pair:
        return self._several((name,), lambda *rows: statistic(*rows).reshape(1), *sizes)[name]

    def _several(
        self,
        names: tuple[str, ...],
        statistic: Callable[..., Tensor],
        *sizes: int,
        logarithms: tuple[str, ...] = (),
    ) -> dict[str, Pair]:
        """Of a statistic that gives all of these, or their logarithms; NaN, with the reason, where not defined."""
        if self.constant:
            return dict.fromkeys(names, UNDEFINED)
        try:
            found = jackknifed(statistic, *(sizes or (len(self.here),)))
        except ValueError as error:
            self.reasons.update(dict.fromkeys(names, str(error)))
            return dict.fromkeys(names, UNDEFINED)
        found = exponential(found, torch.tensor([name in logarithms for name in names]))
        if found.left_out is not None:
            self.left_out.update(zip(names, found.left_out.T, strict=True))
        return dict(zip(names, zip(found.value.tolist(), found.stderr.tolist(), strict=True), strict=True))

    def _similarity(
        self, name: str, measure: Measure, x: Features, y: Tensor, *, paired: bool = True
    ) -> Pair:
        if not paired or len(x) < MIN_SAMPLES:
            return UNDEFINED
        if measure is rsa:  # of all pairs of samples
            x, y = x[self.some], y[self.some]
        try:
            found = with_interval(measure, x, y)
        except ValueError as error:
            self.reasons[name] = str(error)
            return UNDEFINED
        if found.left_out is not None:
            self.left_out[name] = found.left_out
        return float(found.value), float(found.stderr)

    def _mean(self, name: str, values: Tensor) -> Pair:
        """Mean and standard error over the samples where the value is defined."""
        group = torch.from_numpy(stats.group_of(len(values)).copy())
        self.left_out[name] = torch.stack([values[group != g].nanmean() for g in group.unique()])
        return stats.mean_of_defined(values)


def cka_with_error(x: Features, y: Tensor) -> Pair:
    """Debiased linear CKA of two representations of the same samples, and its standard error; NaN of too few.

    Args:
        x: (n, d) features.
        y: (n, d') features.
    """
    if len(x) < MIN_SAMPLES:
        return UNDEFINED
    found = cka_of_layers([x], [y])
    return float(found.value), float(found.stderr)
