"""The Gram volume: how far one sample's features spread under attack and weight perturbation (term C)."""

import torch
from torch import Tensor

from geomlab.typing import Features, Float


def gram_volume(
    clean: Features, adversarial: Features, perturbed: Features, *, eps: float
) -> Float[Tensor, "n"]:
    """sqrt|det G_i| of each sample, G_i = [⟨f_j, f_k⟩] + ε I for its three features (Eq. 8, 9) [N].

    L_GV is its mean, and gradients flow through all three features. Without ε the volume is that of the parallelepiped
    the features span: 0 already where two of them coincide, whatever the third does. And it has no gradient there:
    d sqrt(det G) = ½ sqrt(det G) tr(G⁻¹ dG), and G⁻¹ grows without bound. With ε inside G its eigenvalues are at least
    ε, so the gradient's norm in G is at most of the order of 1/√ε; at three equal features it is that of √3 ε/2·G⁻¹,
    about 1. The determinant of nearly equal features is a difference of numbers near 1, so it is taken in float64,
    whatever the features come in: in float32 it loses what is below 1e-7, in bfloat16 all below 1e-2.

    Args:
        clean: (n, dim) ℓ2-normalised.
        adversarial: the same, of attacked images.
        perturbed: the same, under perturbed weights.
        eps: ε of Eq. 8.

    Returns:
        (n,) float64, at least √(3 ε²) and at most (1 + ε)^(3/2).
    """
    features = torch.stack([clean, adversarial, perturbed], dim=1).double()
    identity = torch.eye(3, dtype=features.dtype, device=features.device)
    gram = features @ features.mT + eps * identity
    determinants: Tensor = torch.linalg.det(gram)
    return determinants.abs().sqrt()
