"""What is measured beside the findings: sharpness, and pyhessian's opinion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from geomlab.curvature import sharpness
from geomlab.data.batches import Batches
from geomlab.linalg.estimates import MEASURED, Eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.subject import Subject

KINDS = ("sam", "asam", "m_sharpness", "average_case")
Values = dict[str, Any]


def sharp(
    subject: Subject, batches: Batches, names: list[str], generator: torch.Generator
) -> tuple[Values, list[str]]:
    """Rises of the loss near the point, each at the radius its authors use; and what has no value."""
    m = min(sharpness.GROUP, len(batches))
    found = {
        "sam": sharpness.sam(subject, batches, names),
        "asam": sharpness.adaptive_sam(subject, batches, names),
        "m_sharpness": sharpness.m_sharpness(subject, batches, names, generator, m=m),
        "average_case": sharpness.average_case(subject, batches, names, generator),
    }
    radii = [sharpness.SAM_RHO, sharpness.ASAM_RHO, sharpness.SAM_RHO, sharpness.SAM_RHO]
    said = [f"{name}: {one.status}" for name, one in found.items() if one.status != MEASURED]
    values = {
        "sharpness": ("kind", np.array([found[name].value for name in KINDS])),
        "sharpness_stderr": ("kind", np.array([found[name].stderr for name in KINDS])),
        "sharpness_rho": ("kind", np.array(radii)),
        "sharpness_m": m,
    }
    return values, said


def second_opinion(
    subject: Subject,
    batches: Batches,
    names: list[str],
    ours: tuple[Eigenpairs, Eigenpairs],
    build: Callable[[], Operator],
    *,
    seed: int,
) -> tuple[Values, list[str]]:
    """pyhessian's eigenvalues beside ours, with residuals by our operator; and where the two differ."""
    from geomlab.curvature.second_opinion import checked, differences, pyhessian_eigenvalues

    k = len(ours[0].values)
    theirs = pyhessian_eigenvalues(subject, batches, names, k, seed=seed)
    theirs = checked(theirs, build())  # whose graphs are not kept beside pyhessian's own
    compared = differences(*ours, theirs)
    said = [
        f"pyhessian's eigenvalue {one.theirs:.4g} (residual {one.residual:.2g}) is none of ours within the errors of "
        f"both, the nearest is {one.ours:.4g}: {one.verdict}"
        for one in compared
        if not one.allowed
    ]
    values = {
        "pyhessian_eigenvalue": ("peer", theirs.values.numpy()),
        "pyhessian_residual": ("peer", (theirs.residuals / theirs.values.abs()).numpy()),
        "pyhessian_matched": ("peer", np.array([one.ours for one in compared])),
        "pyhessian_verdict": ("peer", np.array([one.verdict for one in compared], dtype=str)),
        "pyhessian_products": theirs.products,
        "pyhessian_seconds": theirs.seconds,
    }
    return values, said
