"""Curvature of the mean loss: spectrum, traces, anisotropy, and how sure each is."""

from geomlab.measure.curvature.measurement import Curvature

__all__ = ["Curvature"]
