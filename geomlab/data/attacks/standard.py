"""AutoAttack (Croce & Hein 2020, 2003.01690) as the package pyautoattack runs it."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor

from geomlab.data.attacks.apgd import OTHERS
from geomlab.data.attacks.ascent import Forward, Starts
from geomlab.data.attacks.balls import Ball, Norm
from geomlab.errors import UserError
from geomlab.typing import Images, Labels

CLASSES = 4  # that the targeted DLR needs


@dataclass(frozen=True)
class AutoAttack:
    """The standard version: APGD-CE, APGD-T, FAB-T and Square with 5,000 queries, in float32.

    One image at a time: the package draws its noise for a batch, so that a sample's would depend on the others.

    Attributes:
        eps: radius in pixel units of [0, 1].
        norm: `linf` or `l2`.
    """

    eps: float = 4 / 255
    norm: Norm = "linf"
    restarts: ClassVar[int] = 1  # whose noise seeds the package
    passes: ClassVar[int] = 3 * (100 + 9 * 100) + 9 * 100 * 11 + 5000  # at most; FAB takes a gradient a class

    def require(self, classes: int) -> None:
        """Refuse what would fail midway.

        Args:
            classes: number of the network's logits.

        Raises:
            UserError: if they are too few, or the package is not installed.
        """
        if classes < CLASSES:
            raise UserError(
                f"AutoAttack's targeted DLR loss needs at least {CLASSES} classes, the network has {classes}; "
                "use apgd:loss=ce"
            )
        if find_spec("pyautoattack") is None:
            raise UserError("AutoAttack needs the package pyautoattack; pip install 'geomlab[attacks]'")

    def __call__(self, forward: Forward, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits, differentiable in the images.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.
            start: (1, n, C, H, W) numbers; those of a sample are its seed.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; the clean image where no attack succeeded.

        Raises:
            UserError: as `require`.
        """
        with torch.no_grad():
            logits = forward(images)
        self.require(logits.shape[1])
        found = images.clone()
        for row in (logits.argmax(dim=1) == labels).nonzero().flatten().tolist():
            one, seed = slice(row, row + 1), _seed(start[0, row])
            found[one] = self._attack(forward, images[one], labels[one], seed, logits.shape[1])
        return Ball(self.eps, self.norm).project(found, images)  # float32 may be a little outside

    def _attack(self, forward: Forward, image: Images, label: Labels, seed: int, classes: int) -> Images:
        from pyautoattack import AutoAttack as Package

        def network(x: Images) -> Tensor:
            return forward(x.to(image.dtype)).float()

        norm = {"linf": "Linf", "l2": "L2"}[self.norm]
        with put_back(image.device):
            package = Package(network, device=image.device, eps=self.eps, norm=norm, seed=seed)
            package.apgd_targeted.n_target_classes = package.fab.n_target_classes = min(OTHERS, classes - 1)
            found: Tensor = package.run_standard_evaluation(image.float(), label, batch_size=1)[0]
        return found.to(image.dtype)


def _seed(noise: Tensor) -> int:
    drawn = hashlib.sha256(noise.float().cpu().contiguous().numpy().tobytes()).digest()
    return int.from_bytes(drawn[:4], "big")


@contextmanager
def put_back(device: torch.device) -> Iterator[None]:
    """The package seeds torch's own generators and takes away any trace function (a debugger's, coverage's)."""
    trace = sys.gettrace()
    devices = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            sys.settrace(trace)
