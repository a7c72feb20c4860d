"""What is measured of the last features alone: against the classifier and the texts, and sample by sample."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features import collapse, manifold, uniformity
from geomlab.features.classes import class_means
from geomlab.features.discrepancy import class_distances
from geomlab.features.drift import gram_drift_of_samples
from geomlab.features.head import Head
from geomlab.features.intervals import jackknifed
from geomlab.measure.features.layer import UNDEFINED, Pair, Views
from geomlab.measure.features.projection import Projection
from geomlab.subject import Subject
from geomlab.typing import Bool, Features, Float

KEPT = 5000  # samples whose features are stored, the first ones: ours, those of the largest budget


@dataclass(frozen=True, eq=False)
class LastLayer:
    """Of one condition.

    Attributes:
        views: the last features.
        head: the linear map that takes them, if there is one.
        texts: (m, d) the texts' features in the same space, of a CLIP.
        projection: fitted on the clean ones.
        reasons: what could not be measured, and why; filled as numbers are asked for.
    """

    views: Views
    head: Head | None
    texts: Float[Tensor, "m width"] | None
    projection: Projection | None
    reasons: dict[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Variables of the cell; see results/FORMAT.md."""
        return {
            **self._against_head(),
            **self._against_texts(),
            **self._of_classes(),
            **self._of_samples(),
        }

    def _against_head(self) -> dict[str, Any]:
        """NC3 and NC4; the centroids of NC4 are of clean samples, without the group that the sample is in."""
        duality, agreement, n = UNDEFINED, (math.nan, math.nan, math.nan), 0
        if self.head is None:
            self.reasons["nc3, nc4"] = "the logits are no linear map of the last features"
        else:
            duality = self._duality(self.head)
            right, judged = self._agreements(self.head)
            n = int(judged.sum())
            if n < len(judged):
                self.reasons[f"nc4 of {len(judged) - n} samples"] = (
                    "their predicted class has no clean centroid"
                )
            if n:
                agreed = int((right & judged).sum())
                agreement = (agreed / n, *stats.wilson(agreed, n))
        named = dict(zip(("nc4", "nc4_low", "nc4_high"), agreement, strict=True))
        return {"nc3": duality[0], "nc3_stderr": duality[1], **named, "nc4_n": n}

    def _duality(self, head: Head) -> Pair:
        x, labels, weight = self.views.here, self.views.labels, head.weight

        def apart(rows: Tensor) -> Tensor:
            return collapse.self_duality(class_means(x[rows], labels[rows], len(weight)), weight).reshape(1)

        try:
            found = jackknifed(apart, len(x))
        except ValueError as error:
            self.reasons["nc3"] = str(error)
            return UNDEFINED
        return float(found.value), float(found.stderr)

    def _agreements(self, head: Head) -> tuple[Bool[Tensor, "n"], Bool[Tensor, "n"]]:
        """Whether the network's class is that of the nearest centroid; and whether that class has one."""
        x, clean, labels = self.views.here, self.views.clean, self.views.clean_labels
        predicted = head(x).argmax(1)
        right, judged = torch.zeros(2, len(x), dtype=torch.bool)
        group = torch.from_numpy(stats.group_of(len(x)).copy())
        for g in group.unique():
            others = group != g if self.views.paired else torch.ones(len(clean), dtype=torch.bool)
            centres = class_means(clean[others], labels[others], len(head.weight))
            here = group == g
            judged[here] = ~centres[predicted[here]].isnan().any(1)
            if bool(judged[here].any()):
                right[here] = collapse.agreements(x[here], predicted[here], centres)
        return right, judged

    def _against_texts(self) -> dict[str, Any]:
        """The modality gap, how far the attack or shift changes it, and how far it moves the images' mean."""
        names = ("modality_gap", "modality_gap_change", "modality_shift")
        if self.texts is None:
            return {}
        texts, view = self.texts, self.views

        def gaps(rows: Tensor, others: Tensor | None = None) -> Tensor:
            clean = view.unit_clean[rows if others is None else others]
            here, before = (uniformity.modality_gap(f, texts) for f in (view.unit[rows], clean))
            return torch.stack([here.norm(), here.norm() - before.norm(), (here - before).norm()])

        found = jackknifed(gaps, *view.sizes)
        errors = {f"{name}_stderr": error for name, error in zip(names, found.stderr.tolist(), strict=True)}
        return {**dict(zip(names, found.value.tolist(), strict=True)), **errors}

    def _of_classes(self) -> dict[str, Any]:
        """The two terms of Lemma 3.2 a class, of unit features."""
        view = self.views

        def apart(rows: Tensor, others: Tensor | None = None) -> Tensor:
            clean = rows if others is None else others
            found = class_distances(
                view.unit_clean[clean],
                view.clean_labels[clean],
                view.unit[rows],
                view.labels[rows],
                view.count,
                paired=view.paired,
            )
            return torch.stack([found.mean, found.covariance])

        found, values = jackknifed(apart, *view.sizes), {}
        for row, name in enumerate(("class_mean_distance", "class_covariance_distance")):
            values[name] = ("class", found.value[row].numpy())
            values[f"{name}_stderr"] = ("class", found.stderr[row].numpy())
        return values

    def _of_samples(self) -> dict[str, Any]:
        view, kept = self.views, slice(KEPT)
        values: dict[str, Any] = {
            "sample_label": ("sample", view.labels[kept].numpy()),
            "sample_features": (("sample", "feature"), view.here[kept].float().numpy()),
        }
        if view.paired:
            volume = manifold.gram_volume(view.clean[kept], view.here[kept], view.bent[kept])
            values["sample_gram_volume"] = ("sample", volume.numpy())
            if len(view.here) >= 3:
                drift = gram_drift_of_samples(view.here, view.clean)[kept]
                values["sample_gram_drift"] = ("sample", drift.numpy())
        if self.projection is None:
            return values
        here, clean = (self.projection(f) for f in (view.here, view.clean))
        values |= {
            "projection": (("sample", "component"), here[kept]),
            "projection_variance": ("component", self.projection.variance),
            "class_projection": (("class", "component"), _centres(here, view.labels, view.count)),
            "clean_class_projection": (
                ("class", "component"),
                _centres(clean, view.clean_labels, view.count),
            ),
        }
        if self.projection.neighbours is not None:
            values["umap"] = (("sample", "umap_axis"), self.projection.embedded(view.here[kept]))
        return values


def texts_of(subject: Subject) -> Features | None:
    """The features of a CLIP's class prompts, one row a text."""
    if subject.text is None:
        return None
    from geomlab.features.texts import extract_texts  # not above: it imports open_clip

    return extract_texts(subject.text, subject.text.prompts(), [])["features"]


def _centres(points: Any, labels: Tensor, classes: int) -> Any:
    return class_means(torch.from_numpy(points), labels, classes).numpy()
