"""Feature geometry of all conditions: against the clean inputs, of itself, and against the reference."""

from geomlab.measure.features.layer import MIN_SAMPLES, UNDEFINED, with_error
from geomlab.measure.features.measurement import FeatureGeometry, shared_layers

__all__ = ["MIN_SAMPLES", "UNDEFINED", "FeatureGeometry", "shared_layers", "with_error"]
