"""AutoAttack (Croce & Hein 2020, 2003.01690) as the package pyautoattack runs it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from geomlab.data.attacks.apgd import OTHERS
from geomlab.data.attacks.ascent import Forward, Starts, check_gradient, check_values
from geomlab.data.attacks.balls import Ball, Norm
from geomlab.errors import UserError
from geomlab.typing import Images, Labels, Logits

CLASSES = 4  # that the targeted DLR needs
INSTALL = "pip install 'geomlab[attacks]'"


@dataclass(frozen=True)
class AutoAttack:
    """The standard version: APGD-CE, APGD-T, FAB-T and Square with 5,000 queries, in float32.

    The package draws its noise for a whole batch; here each sample gets what it would get alone, the same for all, so
    that the batch changes nothing.

    Attributes:
        eps: radius in pixel units of [0, 1].
        norm: `linf` or `l2`.
        seed: of the package's noise.
    """

    eps: float = 4 / 255
    norm: Norm = "linf"
    seed: int = 0
    restarts: ClassVar[int] = 0
    passes: ClassVar[int] = 3 * (100 + 9 * 100) + 9 * 100 * 3 + 5000  # at most

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
        require_package("AutoAttack")

    def __call__(self, forward: Forward, images: Images, labels: Labels, start: Starts) -> Images:
        """Attack one batch.

        Args:
            forward: images -> logits, differentiable in the images.
            images: (n, C, H, W) in [0, 1].
            labels: (n,) true classes.
            start: not looked at.

        Returns:
            (n, C, H, W) in [0, 1] and within eps; the clean image where no attack succeeded.

        Raises:
            UserError: as `require`.
        """
        with torch.no_grad():
            logits = forward(images)
        self.require(logits.shape[1])

        def standard(package: Any) -> None:
            targets = min(OTHERS, logits.shape[1] - 1)
            package.apgd_targeted.n_target_classes = package.fab.n_target_classes = targets

        ball = Ball(self.eps, self.norm)
        return by_package(forward, images, labels, logits, ball, self.seed, standard)


def by_package(
    forward: Forward,
    images: Images,
    labels: Labels,
    logits: Logits,
    ball: Ball,
    seed: int,
    prepare: Callable[[Any], None],
) -> Images:
    """Attack what is classified rightly with the package, in float32.

    Args:
        forward: images -> logits.
        images: (n, C, H, W) in [0, 1].
        labels: (n,) true classes.
        logits: of the images.
        ball: what the attack stays in.
        seed: of the package's noise.
        prepare: sets the package's attacks.

    Raises:
        NotFinite: if a gradient is not finite, or a logit is NaN.
    """
    right = (logits.argmax(dim=1) == labels).nonzero().flatten()
    found = images.clone()
    if len(right) > 0:
        found[right] = _attack(forward, images[right], labels[right], ball, seed, prepare)
    return ball.project(found, images)  # float32 may be a little outside


def _attack(
    forward: Forward,
    images: Images,
    labels: Labels,
    ball: Ball,
    seed: int,
    prepare: Callable[[Any], None],
) -> Images:
    from pyautoattack import AutoAttack as Package

    def network(x: Images) -> Tensor:
        inner = x.to(images.dtype).view_as(x)
        if inner.requires_grad:
            inner.register_hook(check_gradient)  # the package counts NaN as zero
        with same.left_alone():
            logits = forward(inner)
        check_values(logits)
        return logits.float()

    norm, same = {"linf": "Linf", "l2": "L2"}[ball.norm], _SameForAll()
    with put_back(images.device), same:
        package = Package(network, device=images.device, eps=ball.eps, norm=norm, seed=seed)
        prepare(package)
        found: Tensor = package.run_standard_evaluation(
            images.float().contiguous(), labels, batch_size=len(labels)
        )[0]
    return torch.where(found == images.float(), images, found.to(images.dtype))


def installed() -> bool:
    """Whether the package is there."""
    return find_spec("pyautoattack") is not None


def require_package(what: str) -> None:
    """Refuse what needs the package where it is not installed.

    Args:
        what: names it.

    Raises:
        UserError: saying how to install it.
    """
    if not installed():
        raise UserError(f"{what} needs the package pyautoattack; {INSTALL}")


class _SameForAll(TorchFunctionMode):
    """Random tensors of images are drawn for one image: so is what comes after them, of whatever batch."""

    def __init__(self) -> None:
        super().__init__()
        self._on = True

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """As if it were not there: a network's own draws are its own."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self._on and func in (torch.rand, torch.randn) and len(args[0]) == 4:
            return func((1, *args[0][1:]), **(kwargs or {})).repeat(args[0][0], 1, 1, 1)
        return func(*args, **(kwargs or {}))


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
