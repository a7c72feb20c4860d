"""Networks of timm and torchvision, by name."""

from collections.abc import Mapping

from torch import Tensor, nn

from geomlab.architectures.network import Preprocessing
from geomlab.errors import UserError
from geomlab.spec import Spec

CLASSES = 1000  # of the networks of timm and torchvision, where nobody says another number


def timm(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    """A network of timm with as many classes as the weights, and its preprocessing.

    Raises:
        UserError: if timm has no such model or tag.
    """
    import timm as library

    if not library.is_model(spec.positional):
        raise UserError(f"'{spec.text}': timm has no model '{spec.positional}'; see timm.list_models()")
    try:
        config = library.models.get_pretrained_cfg(spec.positional)
    except RuntimeError as error:
        raise UserError(f"'{spec.text}': {error} See timm.list_pretrained()") from error
    name = config.classifier if config else None  # of a distilled network two, of as many classes each
    module = library.create_model(
        spec.positional, num_classes=_rows(tensors, name if isinstance(name, str | None) else name[0])
    )
    config = library.data.resolve_data_config({}, model=module)
    return module, Preprocessing(config["input_size"][-1], config["mean"], config["std"])


def torchvision(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    """A classifier of torchvision with as many classes as the weights, and its preprocessing.

    Raises:
        UserError: if torchvision has no such model.
    """
    import torchvision as library

    if spec.positional not in library.models.list_models():
        raise UserError(
            f"'{spec.text}': torchvision has no model '{spec.positional}'; see models.list_models()"
        )
    module = library.models.get_model(spec.positional, weights=None)
    # In each of its classifiers the head is the last of these in the module, in whatever order a file has the names.
    maps = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)]
    outputs = _rows(tensors, maps[-1] if maps else None)
    if outputs != CLASSES:
        module = library.models.get_model(spec.positional, weights=None, num_classes=outputs)
    # torchvision's classification weights are all trained with these (its docs, "Classification").
    return module, Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _rows(tensors: Mapping[str, Tensor] | None, classifier: str | None) -> int:
    """Number of classes: rows of the classifier's weight; the builders' own where there is no such tensor."""
    weight = (tensors or {}).get(f"{classifier}.weight")
    return CLASSES if weight is None or weight.ndim == 0 else len(weight)
