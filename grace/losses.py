"""Losses that several methods share: tensors in, tensors out."""

from torch import Tensor
from torch.nn import functional as F

from geomlab.typing import Features, Float, Int, Logits, Scalar


def contrastive(
    images: Features, texts: Features, captions: Int[Tensor, "n"], scale: Scalar
) -> tuple[Scalar, Scalar]:
    """InfoNCE where equal captions count as positives (UniCL, 2204.03610, eq. 2-4).

    With s_ij = scale·⟨x_i, t_j⟩ and P(i) the samples captioned as i, the first direction is
    −1/n Σ_i 1/|P(i)| Σ_{j∈P(i)} log softmax_j(s_i·); the second is the same over columns. Where all captions
    differ this is CLIP's loss.

    Args:
        images: (n, dim) normalised.
        texts: (n, dim) normalised, of each image's caption.
        captions: (n,) equal numbers for equal captions.
        scale: what similarities are multiplied by.
    """
    logits = scale * images @ texts.T
    positive: Float[Tensor, "n n"] = (captions[:, None] == captions[None, :]).to(logits.dtype)
    target = positive / positive.sum(dim=1, keepdim=True)  # symmetric, so it serves both directions
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)


def divergences(of: Logits, to: Logits) -> Float[Tensor, "n"]:
    """KL(p ‖ q) = Σ_c p_c (log p_c − log q_c), in nats, of each sample's softmax at temperature 1.

    Args:
        of: (n, C) logits of p.
        to: (n, C) logits of q.
    """
    return F.kl_div(to.log_softmax(dim=1), of.log_softmax(dim=1), reduction="none", log_target=True).sum(
        dim=1
    )


def cosine_distances(a: Features, b: Features) -> Float[Tensor, "n"]:
    """1 − ⟨a_i, b_i⟩ (n,) of each sample.

    Args:
        a: (n, dim) ℓ2-normalised.
        b: the same.
    """
    return 1 - (a * b).sum(dim=1)
