"""The labelled face of the computing code: subject and inputs in, `xarray.Dataset` out (results/FORMAT.md)."""

from geomlab.measure.accuracy import Accuracy
from geomlab.measure.base import Derived, Joint, Measurement, OfAttack, Single
from geomlab.measure.bound import Bound
from geomlab.measure.curvature import Curvature
from geomlab.measure.drift import Drift
from geomlab.measure.features import FeatureGeometry
from geomlab.measure.landscape import Landscape
from geomlab.measure.paths import Paths
from geomlab.measure.sanity import Sanity

__all__ = [
    "Accuracy",
    "Bound",
    "Curvature",
    "Derived",
    "Drift",
    "FeatureGeometry",
    "Joint",
    "Landscape",
    "Measurement",
    "OfAttack",
    "Paths",
    "Sanity",
    "Single",
]
