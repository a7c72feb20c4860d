"""Feature geometry of all conditions: against the clean inputs, of itself, and against the reference."""

from geomlab.features.intervals import MIN_SAMPLES
from geomlab.measure.features.layer import UNDEFINED, with_error
from geomlab.measure.features.measurement import PRECISIONS, FeatureGeometry, shared_layers
from geomlab.measure.features.projection import PROJECTIONS

__all__ = [
    "MIN_SAMPLES",
    "PRECISIONS",
    "PROJECTIONS",
    "UNDEFINED",
    "FeatureGeometry",
    "shared_layers",
    "with_error",
]
