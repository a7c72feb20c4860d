"""Loss slices of a network: along which directions, under which inputs, and what they amount to."""

from geomlab.measure.landscape.axes import KNOWN
from geomlab.measure.landscape.measurement import ATTACKS, Landscape
from geomlab.measure.landscape.plane import PLANES

__all__ = ["ATTACKS", "KNOWN", "PLANES", "Landscape"]
