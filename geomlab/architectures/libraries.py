"""Networks of timm and torchvision, by name."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from geomlab.architectures.frame import resizing
from geomlab.architectures.network import Preprocessing
from geomlab.errors import UserError, first_line
from geomlab.spec import Spec, flag

CLASSES = 1000  # of the networks of timm and torchvision, where nobody says another number


def timm(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    """A network of timm with as many classes as the weights, and its preprocessing.

    Raises:
        UserError: if timm has no such model or tag, or the weights asked for cannot be had.
    """
    import timm as library

    spec.only("pretrained")
    if not library.is_model(spec.positional):
        raise UserError(f"'{spec.text}': timm has no model '{spec.positional}'; see timm.list_models()")
    try:
        config = library.models.get_pretrained_cfg(spec.positional)
    except RuntimeError as error:
        raise UserError(f"'{spec.text}': {error} See timm.list_pretrained()") from error
    name = config.classifier if config else None  # of a distilled network two, of as many classes each
    if tensors is None and flag(spec, "pretrained"):
        module = _fetched(spec, lambda: library.create_model(spec.positional, pretrained=True))
    else:
        rows = _rows(tensors, name if isinstance(name, str | None) else name[0])
        module = library.create_model(spec.positional, num_classes=rows)
    config = library.data.resolve_data_config({}, model=module)
    size = config["input_size"][-1]
    # Those few whose crop_mode is "border" pad an image; here it is cut.
    return module, Preprocessing(
        size,
        config["mean"],
        config["std"],
        *resizing(size, math.floor(size / config["crop_pct"]), config["interpolation"], config["crop_mode"]),
    )


def torchvision(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    """A classifier of torchvision with as many classes as the weights, and its preprocessing.

    Raises:
        UserError: if torchvision has no such model or weights, or they cannot be had.
    """
    import torchvision as library

    spec.only("weights")
    if spec.positional not in library.models.list_models():
        raise UserError(
            f"'{spec.text}': torchvision has no model '{spec.positional}'; see models.list_models()"
        )
    module, tag = library.models.get_model(spec.positional, weights=None), spec.option("weights")
    if tag is not None and tensors is None:
        known = library.models.get_model_weights(spec.positional)
        if tag not in known.__members__:
            raise UserError(
                f"'{spec.text}': no weights '{tag}'; there are {', '.join(known.__members__) or 'none'}"
            )
        tensors = _fetched(
            spec, lambda: known[tag].get_state_dict(progress=False, check_hash=True, weights_only=True)
        )
        module.load_state_dict(tensors)
    # In each of its classifiers the head is the last of these in the module, in whatever order a file has the names.
    maps = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)]
    outputs = _rows(tensors, maps[-1] if maps else None)
    if outputs != CLASSES:
        module = library.models.get_model(spec.positional, weights=None, num_classes=outputs)
    return module, of_weights(library.models.get_model_weights(spec.positional), tag or "IMAGENET1K_V1")


def of_weights(known: Any, tag: str) -> Preprocessing:
    """What stands before torchvision's weights of a tag.

    Args:
        known: their enumeration, of one network.
        tag: which; of a file nobody knows, so the first recipe's is taken.
    """
    # torchvision's classification weights are all trained with these (its docs, "Classification").
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    member = known.__members__.get(tag)
    its: Any = member.transforms() if member is not None else None
    if not hasattr(its, "crop_size"):  # no classifier, or no such weights
        return Preprocessing(224, mean, std)
    (size,), (resize,) = its.crop_size, its.resize_size
    return Preprocessing(size, mean, std, *resizing(size, resize, its.interpolation.value, "shortest"))


def _fetched(spec: Spec, fetch: Callable[[], Any]) -> Any:
    """What a library downloads because the SPEC asks for it."""
    try:
        return fetch()
    except Exception as error:  # the hub and the libraries fail in many ways
        said = first_line(error)
        raise UserError(f"'{spec.text}': its weights cannot be had: {said}; give a file of them") from error


def _rows(tensors: Mapping[str, Tensor] | None, classifier: str | None) -> int:
    """Number of classes: rows of the classifier's weight; the builders' own where there is no such tensor."""
    weight = (tensors or {}).get(f"{classifier}.weight")
    return CLASSES if weight is None or weight.ndim == 0 else len(weight)
