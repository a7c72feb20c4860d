"""A checkpoint by its file, or a pretrained network by a model SPEC that names its weights."""

from pathlib import Path

from geomlab import architectures, checkpoint
from geomlab.checkpoint import Checkpoint
from geomlab.files import is_there
from geomlab.spec import parse


def read(given: Path | str) -> Checkpoint:
    """Read a file; where there is none of that name and it is a model SPEC, take the weights that the SPEC names.

    `open_clip:ViT-B-32-quickgelu,pretrained=openai`, `open_clip:hf-hub:ORG/REPO`, `open_clip:local-dir:FOLDER`,
    `timm:NAME,pretrained=yes`, `torchvision:NAME,weights=TAG`, `transformers:FOLDER`,
    `transformers:ORG/REPO`. This alone, and `--model`, may download.

    Args:
        given: a path, or a SPEC.

    Raises:
        UserError: if neither can be read, or the SPEC names no weights.
    """
    text = str(given)
    if is_there(text) or ":" not in text or parse(text).head not in architectures.LIBRARIES:
        return checkpoint.read(given)
    tensors, preprocessing = architectures.own_weights(text)
    about = {"architecture": {"spec": text}, "preprocessing": preprocessing.described()}
    return Checkpoint(tensors, about, Path(text))
