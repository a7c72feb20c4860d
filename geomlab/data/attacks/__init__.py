"""Adversarial examples, for training and for analysis alike.

Images are in [0, 1], normalisation is inside the network. Gradients are taken by `autograd.grad` with respect to the
images alone, so no attack leaves a trace in any `.grad`. An attack is given where its restarts begin: noise of each
sample's own, so that the batch changes nothing but by rounding.
"""

from geomlab.data.attacks.apgd import APGD
from geomlab.data.attacks.ascent import Forward, Loss, ascend
from geomlab.data.attacks.balls import NORMS, Ball, Norm
from geomlab.data.attacks.features import FeaturePGD
from geomlab.data.attacks.pgd import FGSM, PGD, step_length
from geomlab.data.attacks.specs import KNOWN, attack_of
from geomlab.data.attacks.square import Square
from geomlab.data.attacks.standard import AutoAttack
from geomlab.data.attacks.worst import Single, Worst

Attack = PGD | FGSM | APGD | FeaturePGD | Worst | AutoAttack

__all__ = [
    "APGD",
    "FGSM",
    "KNOWN",
    "NORMS",
    "PGD",
    "Attack",
    "AutoAttack",
    "Ball",
    "FeaturePGD",
    "Forward",
    "Loss",
    "Norm",
    "Single",
    "Square",
    "Worst",
    "ascend",
    "attack_of",
    "step_length",
]
