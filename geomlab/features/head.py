"""The linear map from features to logits, where a network ends in one."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Float, Images, Logits

TOLERANCE = 1e-4  # of the largest logit, within which a map gives the network's own: ours


@dataclass(frozen=True, eq=False)
class Head:
    """Logits are features · weightᵀ + bias.

    Attributes:
        weight: (C, d) on the CPU.
        bias: (C,).
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, "classes"]

    def __call__(self, features: Features) -> Logits:
        """(n, C) of features (n, d) on the CPU."""
        return F.linear(features.to(self.weight.dtype), self.weight, self.bias)


@torch.no_grad()
def linear_head(subject: Subject, images: Images) -> Head | None:
    """The head of a network, None where the logits are no linear map of `features` by an `nn.Linear` of its own.

    Args:
        subject: the network.
        images: (n, C, H, W) a few, on which it is tried.
    """
    features, logits = subject.activations(images, [])[FEATURES], subject(images)
    if features.ndim != 2:
        return None
    for name, module in reversed(list(subject.module.named_modules())):
        shape = (logits.shape[1], features.shape[1])
        weight = subject.weights.get(f"{name}.weight")
        if not isinstance(module, nn.Linear) or weight is None or tuple(weight.shape) != shape:
            continue
        bias = subject.weights.get(f"{name}.bias", weight.new_zeros(len(weight)))
        error = (F.linear(features, weight, bias) - logits).abs().max()
        if error <= TOLERANCE * logits.abs().max():
            return Head(weight.cpu(), bias.cpu())
    return None
