"""Curvature of the risk: matrices of it, sharpness, anisotropy, how sure over samples, a second opinion."""
