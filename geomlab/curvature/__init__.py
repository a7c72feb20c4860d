"""Curvature of the risk: matrix-free Hessian, anisotropy."""
