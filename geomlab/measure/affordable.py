"""How many samples of a condition a measure takes whose work is hundreds of passes over them."""

from math import inf

import torch
from torch.utils.flop_counter import FlopCounterMode

from geomlab.subject import Subject
from geomlab.typing import Images

FEWEST = 4  # of which the jackknife over samples gives an error: ours


def affordable(subject: Subject, images: Images, work: float) -> float:
    """The most samples, a power of two, whose forward pass takes no more than so much work; `FEWEST` at least.

    It depends on the network and the size of its inputs alone, so that every machine takes as many.

    Args:
        subject: the network.
        images: (n, C, H, W), of which the first is tried.
        work: FLOP, as `flops` counts them.

    Returns:
        Infinity where all of it counts as nothing.
    """
    if work == inf or (one := flops(subject, images)) == 0:
        return inf
    most = max(int(work / one), FEWEST)
    return float(1 << (most.bit_length() - 1))


def flops(subject: Subject, images: Images) -> float:
    """Floating-point operations of a forward pass of one image, a multiplication and an addition counted as two.

    What torch's counter does not know, custom kernels and elementwise functions, counts as nothing.

    Args:
        subject: the network.
        images: (n, C, H, W), of which the first is tried.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # what torch's own transformer layers do there is not counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            subject(images[:1])
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.get_total_flops())
