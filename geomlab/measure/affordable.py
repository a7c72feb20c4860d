"""How many samples of a condition a measure takes whose work is hundreds of passes over them."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from geomlab.subject import Subject
from geomlab.typing import Images

FEWEST = 4  # of which the jackknife over samples gives an error: ours


@torch.no_grad()
def affordable(subject: Subject, images: Images, work: float) -> float:
    """The most samples, a power of two, whose forward pass takes no more than so much work; `FEWEST` at least.

    It depends on the network and the size of its inputs alone, so that every machine takes as many.

    Args:
        subject: the network.
        images: (n, C, H, W), of which the first is tried.
        work: FLOP, a multiplication and an addition counted as two. What torch's counter does not know, custom kernels
            and elementwise functions, counts as nothing.

    Returns:
        Infinity where all of it counts as nothing.
    """
    with FlopCounterMode(display=False) as counter:
        subject(images[:1])
    one = counter.get_total_flops()
    if one == 0 or work == float("inf"):
        return float("inf")
    most = max(int(work / one), FEWEST)
    return float(1 << (most.bit_length() - 1))
