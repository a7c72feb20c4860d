"""CLIPs and SigLIPs of transformers: the folder's network, preprocessing and tokenizer, its weights or a file's."""

from collections.abc import Mapping
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from geomlab.architectures import clips
from geomlab.architectures.frame import resizing
from geomlab.architectures.network import Labels, Network, Preprocessing
from geomlab.errors import UserError
from geomlab.spec import Spec

if TYPE_CHECKING:
    from geomlab.clip.huggingface import Repository  # which imports open_clip


def transformers(spec: Spec, tensors: Mapping[str, Tensor] | None, labels: Labels | None) -> Network:
    """The image tower with its trained head, or else the zero-shot head.

    SigLIP's logits hold its bias; where a measure needs probabilities they are the softmax over the classes, as of any
    classifier here, and not the sigmoid it was trained with.

    Args:
        spec: `transformers:FOLDER` or `transformers:ORG/REPO`.
        tensors: a state_dict under transformers' names, of both towers or of the image tower; None for the weights
            beside the config.
        labels: class names and templates.

    Raises:
        UserError: if there is no such folder, it is of another kind of model, the weights do not fit, or a head can
            neither be read nor made.
    """
    from geomlab import clip
    from geomlab.clip import huggingface

    repository = huggingface.Repository.of(spec)
    given = huggingface.of_transformers(tensors) if tensors is not None else None
    source = huggingface.create(repository, pretrained=given is None or not given.text)
    if given is not None:
        huggingface.fill(source, given, spec.text)
    model, own = huggingface.TwoTowers(source).eval(), preprocessing(repository, source.config.vision_config)

    def tokenize() -> Any:
        return huggingface.tokenizer(repository, source.config, model.text_eos_id)

    trained = None
    if given is not None and given.head is not None:
        trained = clip.checked_head(given.head, {"embed_dim": model.dim}, spec.positional), given.bias
    return clips.classifier(model, tokenize, labels, own, spec, trained=trained)


def pretrained(spec: Spec) -> tuple[nn.Module, Preprocessing]:
    """The model with the weights beside its config, and its preprocessing.

    Raises:
        UserError: if they cannot be had.
    """
    from geomlab.clip import huggingface

    repository = huggingface.Repository.of(spec)
    model: Any = huggingface.create(repository)
    return model, preprocessing(repository, model.config.vision_config)


_FILES = ("preprocessor_config.json", "processor_config.json")
"""Of which the second, transformers' since 5, holds what the first holds under `image_processor`."""


def preprocessing(repository: "Repository", vision: Any) -> Preprocessing:
    """What stands before the network, and how files are resized for it.

    Args:
        repository: of the model.
        vision: transformers' config of the image tower.

    Raises:
        UserError: if images would be prepared in a way that `Preprocessing` cannot say.
    """
    about = repository.json(_FILES[0])
    name = _FILES[1] if about is None else _FILES[0]
    if about is None:
        about = (repository.json(name) or {}).get("image_processor")
    if not isinstance(about, dict):
        raise UserError(f"'{repository.spec}': holds no {_FILES[0]}, which says how images are normalised")
    wrong = _unsaid(about, vision.image_size)
    mean, std = (_numbers(about.get(key), vision.num_channels) for key in ("image_mean", "image_std"))
    if about.get("do_normalize", True) is False:
        mean, std = (0.0,) * vision.num_channels, (1.0,) * vision.num_channels
    if wrong is None and (mean is None or std is None or min(std) <= 0):
        wrong = (
            f"an image_mean of {about.get('image_mean')} and an image_std of {about.get('image_std')}, expected "
            f"{vision.num_channels} numbers each"
        )
    if wrong is not None or mean is None or std is None:
        raise UserError(f"'{repository.spec}': its {name} has {wrong}")
    size = vision.image_size
    return Preprocessing(size, mean, std, *resizing(size, size, *_resized(about)))


_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's, by the number that the file gives."""


def _resized(about: Mapping[str, Any]) -> tuple[str, str]:
    """Interpolation, and mode: where the file says both sides and not the shortest, both become that."""
    number = about.get("resample", 3)
    known = isinstance(number, int) and 0 <= number < len(_FILTERS)
    size = about.get("size")
    squashed = isinstance(size, dict) and "height" in size
    return _FILTERS[number] if known else "bicubic", "squash" if squashed else "shortest"


def _unsaid(about: Mapping[str, Any], size: int) -> str | None:
    """What in the file is not: pixels in [0, 1], of squares of the network's size."""
    factor = about.get("rescale_factor", 1 / 255)
    if about.get("do_rescale", True) is False or not (
        isinstance(factor, float) and isclose(factor, 1 / 255, rel_tol=1e-6)
    ):
        return f"a rescale_factor of {factor if about.get('do_rescale', True) else 'none'}, expected 1/255"
    names = (
        ("size", "crop_size") if about.get("crop_size") and about.get("do_center_crop", True) else ("size",)
    )
    for name in names:
        found = about.get(name, size)
        sides = list(found.values()) if isinstance(found, dict) else [found]
        if not sides or any(side != size for side in sides):
            return f"a {name} of {found}, and its network takes squares of {size} pixels"
    return None


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    given = isinstance(values, list) and len(values) == count
    if not given or not all(isinstance(value, int | float) for value in values):
        return None
    try:
        numbers = tuple(map(float, values))
    except OverflowError:  # of a whole number
        return None
    return numbers if all(map(isfinite, numbers)) else None
