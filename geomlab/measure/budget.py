"""Which measures are taken of a network, and how much is spent on each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from geomlab.measure.accuracy import Accuracy
from geomlab.measure.affordable import affordable
from geomlab.measure.base import Measurement
from geomlab.measure.bound import Bound
from geomlab.measure.curvature import Curvature
from geomlab.measure.drift import Drift
from geomlab.measure.features import FeatureGeometry
from geomlab.measure.landscape import Landscape
from geomlab.measure.paths import Paths
from geomlab.measure.sanity import Sanity
from geomlab.subject import Subject
from geomlab.typing import Images

MEASURES = (
    "accuracy",
    "curvature",
    "landscape",
    "features",
    "sanity",
)  # drift comes with a reference, so does the bound; paths are asked for


@dataclass(frozen=True)
class Budget:
    """How much is spent. The sizes are ours: quick is for a first look, standard for a notebook, paper for print.

    Attributes:
        samples: a condition, at most those there are.
        k: top eigenvalues.
        probes: of the traces.
        pairs: of probes for the layers' blocks.
        density: probes and steps of the spectral density.
        parts: into how many the samples are split, in turn, to see how λmax moves with n.
        max_products: at which Lanczos stops.
        line_points: of the line, and of a path.
        plane_points: a side of the plane.
        sanity: samples of an attack's sanity checks, and floating-point operations that these may take.
        work: FLOP of a forward pass over the samples that curvature, landscape and paths take, at most.
        lighter: fields that are others where the work leaves fewer samples: a product is then as costly as it may be.
    """

    samples: int
    k: int
    probes: int
    pairs: int
    density: tuple[int, int]
    parts: tuple[int, ...]
    max_products: int
    line_points: int
    plane_points: int
    sanity: tuple[int, float]
    work: float = inf
    lighter: Mapping[str, Any] = field(default_factory=dict)

    def of(self, subject: Subject, images: Images, count: int) -> tuple["Budget", float]:
        """What is spent on a network; it depends on that and its inputs alone, so it is no machine's.

        Args:
            subject: the network.
            images: (n, C, H, W), of which the first is tried.
            count: samples that there are.

        Returns:
            And how many samples curvature, landscape and paths take, at most; infinity where all.
        """
        most = affordable(subject, images, self.work)
        if most >= min(self.samples, count):
            return self, inf
        return replace(self, **self.lighter), most


BUDGETS = {
    "quick": Budget(
        samples=200,
        k=5,
        probes=10,
        pairs=3,
        density=(2, 10),
        parts=(2,),
        max_products=40,
        line_points=21,
        plane_points=11,
        sanity=(100, 1e13),
        work=5e10,
        lighter={
            "probes": 4,
            "pairs": 2,
            "density": (2, 4),
            "max_products": 18,
            "line_points": 15,
            "plane_points": 9,
        },
    ),
    "standard": Budget(
        samples=1000,
        k=10,
        probes=30,
        pairs=8,
        density=(4, 25),
        parts=(2, 4, 8),
        max_products=200,
        line_points=41,
        plane_points=21,
        sanity=(100, 3e13),
    ),
    "paper": Budget(
        samples=5000,
        k=20,
        probes=100,
        pairs=25,
        density=(10, 50),
        parts=(2, 4, 8, 16),
        max_products=500,
        line_points=51,
        plane_points=51,
        sanity=(500, inf),
    ),
}


def measurements(
    names: Sequence[str],
    budget: Budget,
    *,
    subspace: str,
    reference: Subject | None,
    seed: int,
    curvature: Mapping[str, Any],
    landscape: Mapping[str, Any],
    features: Mapping[str, Any],
    paths: Sequence[str] = (),
    trained_on: int | None = None,
) -> tuple[Measurement, ...]:
    """The measurements of the named families, and the paths, the drift and the bound where there is a reference.

    Args:
        names: of the families.
        budget: how much is spent.
        subspace: of the parameters.
        reference: network that is compared with.
        seed: of directions.
        curvature: what else `Curvature` is told.
        landscape: what else `Landscape` is told.
        features: what else `FeatureGeometry` is told.
        paths: SPECs of the paths from the reference.
        trained_on: samples that the network was trained on, None where that is not known.
    """
    built: dict[str, Measurement] = {
        "accuracy": Accuracy(),
        "curvature": Curvature(
            subspace,
            budget.k,
            budget.probes,
            budget.pairs,
            budget.density,
            budget.parts,
            reference=reference,
            max_products=budget.max_products,
            **curvature,
        ),
        "landscape": Landscape(
            subspace,
            line_points=budget.line_points,
            plane_points=budget.plane_points,
            seed=seed,
            reference=reference,
            **landscape,
        ),
        "features": FeatureGeometry(reference, subspace=subspace, seed=seed, **features),
        "sanity": Sanity(*budget.sanity),
    }
    chosen = [built[name] for name in MEASURES if name in names]
    if reference is None:
        return tuple(chosen)
    moved = {name: landscape[name] for name in ("attack", "batchnorm")}
    along = Paths(reference, tuple(paths), subspace, count=budget.line_points, seed=seed, **moved)
    led = [along] if paths else []
    terms = [Bound(trained_on)] if {"curvature", "features"} <= set(names) else []
    return (*chosen, *led, Drift(reference, subspace), *terms)
