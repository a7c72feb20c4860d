"""APGD-CE as AutoAttack runs it (Croce & Hein 2020, 2003.01690), from the package pyautoattack."""

from importlib.util import find_spec

from torch import Tensor

from geomlab.data.attacks.standard import put_back
from geomlab.errors import UserError
from geomlab.rng import derive_seed
from geomlab.subject import Subject
from geomlab.typing import Images, Labels

NAME = "apgd-ce"


def require() -> None:
    """Refuse to begin what would end where the attack is missing.

    Raises:
        UserError: if the package is not installed.
    """
    if find_spec("pyautoattack") is None:
        raise UserError("APGD needs the package pyautoattack; pip install 'geomlab[bench]'")


def apgd(
    network: Subject, images: Images, labels: Labels, *, eps: float, seed: int, batch_size: int
) -> Images:
    """Attack the samples that the network has right; the others stay as they are.

    One random start, 100 iterations and ρ = 0.75, as in the standard version of AutoAttack.

    Args:
        network: what is attacked.
        images: (n, C, H, W) in [0, 1], float32.
        labels: (n,) classes.
        eps: ℓ∞ radius in pixel units of [0, 1].
        seed: of the starts, which depend on the batch too: of those still right, so many at a time.
        batch_size: samples at a time.

    Returns:
        (n, C, H, W) in [0, 1] and within eps; the clean image where the attack did not succeed.

    Raises:
        UserError: if the package is not installed.
    """
    require()
    from pyautoattack import AutoAttack

    with put_back(images.device):
        attack = AutoAttack(
            network,
            attacks=[NAME],
            device=images.device,
            eps=eps,
            seed=derive_seed(seed, NAME),
            version="custom",
        )
        attack.apgd.n_restarts = 1  # the package's standard; a custom list of attacks would have 5
        found: Tensor = attack.run_standard_evaluation(images, labels, batch_size=batch_size)[0]
    return found
