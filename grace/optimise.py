"""The optimiser, its schedule, and the average of the weights."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from grace.settings import Optimisation


def make_optimiser(weights: Iterable[nn.Parameter], settings: Optimisation) -> torch.optim.Optimizer:
    """AdamW or SGD; gains, biases and the logit scale are not decayed, as in open_clip."""
    weights = list(weights)
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def learning_rate(step: int, steps: int, settings: Optimisation) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero, as in open_clip.

    Args:
        step: from 0.
        steps: of the whole run, more than the warm-up has.
        settings: peak and length of the warm-up.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / (steps - settings.warmup)
    return settings.lr * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def average(mean: dict[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """mean ← decay·mean + (1 − decay)·weights, in place; an empty mean begins as a copy of the weights."""
    for name, weight in weights.items():
        if name in mean:
            mean[name].lerp_(weight, 1 - decay)
        else:
            mean[name] = weight.detach().clone()
