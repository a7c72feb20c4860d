"""Feature geometry of all conditions: against the clean inputs, of itself, and against the reference."""

from geomlab.features.intervals import MIN_SAMPLES
from geomlab.measure.features.layer import UNDEFINED, cka_with_error
from geomlab.measure.features.measurement import PRECISIONS, FeatureGeometry, shared_layers
from geomlab.measure.features.projection import PROJECTIONS

__all__ = [
    "MIN_SAMPLES",
    "PRECISIONS",
    "PROJECTIONS",
    "UNDEFINED",
    "FeatureGeometry",
    "cka_with_error",
    "shared_layers",
]
