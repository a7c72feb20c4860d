"""SPEC -> network."""

from geomlab.architectures.build import KNOWN, build, own_weights
from geomlab.architectures.clips import check_activation, preprocessing_of_clip
from geomlab.architectures.frame import Frame, Size, frame_of
from geomlab.architectures.network import Labels, Network, Preprocessing
from geomlab.architectures.recorded import LIBRARIES, labels_of, network_of, preprocessing_of, runs_code
from geomlab.architectures.user import call_factory, try_on
from geomlab.errors import reason
from geomlab.weights import HEAD, check_finite, copied, load

__all__ = [
    "HEAD",
    "KNOWN",
    "LIBRARIES",
    "Frame",
    "Labels",
    "Network",
    "Preprocessing",
    "Size",
    "build",
    "call_factory",
    "check_activation",
    "check_finite",
    "copied",
    "frame_of",
    "labels_of",
    "load",
    "network_of",
    "own_weights",
    "preprocessing_of",
    "preprocessing_of_clip",
    "reason",
    "runs_code",
    "try_on",
]
