"""How the cost of a product, and of a fixed number of Lanczos steps, grows with images and with parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import linregress
from torch import Tensor

from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.linalg.lanczos import eigenpairs
from geomlab.rng import generator
from geomlab.subject import Subject
from side_by_side import cases
from side_by_side.meter import medians

IMAGES = (125, 250, 500, 1000)
WIDTHS = (64, 128, 192, 256)  # of ViTs of 4 blocks, 16 patches, with 64 images
STEPS = 8

Point = tuple[float, Subject, Batches]


def fits(device: str, repeats: int) -> dict[str, Any]:
    """The exponent of each by a straight line through logarithms, with its standard error."""
    return {
        "images": fit(by_images(device), repeats),
        "parameters": fit(by_parameters(device), repeats),
    }


def by_images(device: str) -> list[Point]:
    found = []
    for count in IMAGES:
        case = cases.build(f"embedded-{count}", device)
        found.append((float(count), case.subject, case.batches))
    return found


def by_parameters(device: str) -> list[Point]:
    found = []
    for width in WIDTHS:
        subject, batches = cases.vit(
            64, "vit_tiny_patch16_224", size=64, embed_dim=width, depth=4, num_heads=width // 32
        )
        subject = subject.to(device, torch.float32)
        size = sum(tensor.numel() for tensor in subject.weights.values())
        found.append((float(size), subject, batches.to(subject.device, torch.float32)))
    return found


def fit(points: Sequence[Point], repeats: int) -> dict[str, Any]:
    sizes, product, steps = [], [], []
    for size, subject, batches in points:
        operator = Hessian(subject, batches, list(subject.weights))
        times = medians(works(operator), repeats)
        sizes.append(size)
        product.append(times["product"])
        steps.append(times["steps"])
    return {
        "sizes": sizes,
        "product": line(sizes, product),
        f"{STEPS} Lanczos steps": line(sizes, steps),
    }


def works(operator: Hessian) -> dict[str, Callable[[], Any]]:
    vector: Tensor = torch.randn(operator.dim, generator=generator(0, "vector")).to(operator.device)
    return {
        "product": lambda: operator.matvec(vector),
        "steps": lambda: eigenpairs(operator, 5, generator(0, "start"), max_products=STEPS, search=0),
    }


def line(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, Any]:
    found = linregress(np.log(sizes), np.log(seconds))
    return {"seconds": list(seconds), "exponent": float(found.slope), "stderr": float(found.stderr)}
