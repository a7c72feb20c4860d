"""Curvature of the mean loss: spectrum, traces, anisotropy, and how sure each is."""

from geomlab.measure.curvature.measurement import EIGENSOLVERS, MATRICES, Curvature

__all__ = ["EIGENSOLVERS", "MATRICES", "Curvature"]
