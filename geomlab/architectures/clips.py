"""CLIPs of open_clip: the SPEC's network, the file's weights in whatever form, and the head."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn

from geomlab import params
from geomlab.architectures.frame import resizing
from geomlab.architectures.network import Labels, Network, Preprocessing
from geomlab.errors import UserError
from geomlab.spec import Spec, parse


def open_clip(
    spec: Spec,
    tensors: Mapping[str, Tensor] | None,
    config: Mapping[str, Any] | None,
    labels: Labels | None,
) -> Network:
    """A CLIP's image tower with its trained head, or else the zero-shot head.

    Args:
        spec: `open_clip:NAME[,pretrained=TAG or FILE]`, `open_clip:hf-hub:ORG/REPO`, `open_clip:local-dir:FOLDER`, or
            `open_clip:custom`.
        tensors: a state_dict in a form of `clip.forms`; None for the SPEC's own weights.
        config: of `open_clip:custom`.
        labels: class names and templates.

    Raises:
        UserError: if the SPEC or the config is unknown, the weights do not fit, or a head can neither be read nor made.
    """
    # Not above: it imports open_clip, half the time a command takes to start, and only a CLIP needs it.
    from geomlab import clip

    given = clip.forms.of_clip(tensors) if tensors is not None else None
    model, own, own_config = _empty(spec, config, pretrained=given is None or not given.text)
    text = given is None or given.text or clip.brings_weights(spec)
    if given is not None:
        clip.forms.fill(model, given, spec.positional, spec.text)

    def tokenize() -> Any:
        return clip.tokenizer(own_config, spec.positional, fetch=clip.brings_weights(spec))

    trained = None
    if given is not None and given.head is not None:
        trained = clip.checked_head(given.head, own_config, spec.positional), given.bias
    elif not text:
        raise UserError(
            f"the weights are of an image tower alone, and {spec.text} has no text tower to make the zero-shot head "
            "with; say where it is to come from, --model open_clip:NAME,pretrained=TAG (or a file), or save class "
            "weights beside them as head.weight"
        )
    return classifier(model, tokenize, labels, own, spec, trained=trained, text=text)


def classifier(
    model: Any,
    tokenize: Callable[[], Any],
    labels: Labels | None,
    own: Preprocessing,
    spec: Spec,
    *,
    trained: tuple[Tensor, Tensor | None] | None,
    text: bool = True,
) -> Network:
    """The image tower of a CLIP with a trained head, or else with the zero-shot head of its text tower.

    Args:
        model: of open_clip, or `TwoTowers`; its weights are loaded.
        tokenize: gives its tokenizer.
        labels: class names and templates.
        own: what stands before it.
        spec: the SPEC, for messages.
        trained: class weights (classes, dim) and their bias (classes,) or None; None for the zero-shot head.
        text: whether its text tower has weights.

    Raises:
        UserError: if there are no class names to make a head with, or the texts cannot be tokenised.
    """
    from geomlab import clip

    if trained is not None:
        head, bias = trained
        module = clip.ClipClassifier(model.visual, head.to(model.logit_scale.dtype), bias)
        network = Network(module.eval(), own)
    elif labels is None:
        raise UserError(
            f"{spec.text}: a CLIP needs class names for its zero-shot head; give --data with names"
        )
    else:
        network = _zero_shot(model.eval(), tokenize(), labels, own)
    if labels is None:
        return network
    tower = None
    if text and isinstance(model, clip.CLIP | clip.TwoTowers):  # others keep their text towers elsewhere
        tower = clip.TextTower.of(model, tokenize(), labels.classes, labels.templates)
    return replace(network, classes=labels.classes, text=tower)


def pretrained(spec: Spec) -> tuple[nn.Module, Preprocessing]:
    """The CLIP with the weights that a SPEC names, and its preprocessing.

    Raises:
        UserError: if it names none, or they cannot be had.
    """
    from geomlab import clip

    if not clip.brings_weights(spec):
        raise UserError(
            f"'{spec.text}': names no weights; add pretrained=TAG, or give a checkpoint file and --model {spec.text}"
        )
    model: nn.Module = clip.create(spec)
    return model, preprocessing_of_clip(model)


def _empty(
    spec: Spec, config: Mapping[str, Any] | None, *, pretrained: bool
) -> tuple[Any, Preprocessing, Mapping[str, Any]]:
    """The CLIP of a SPEC, what stands before it, and the config of one of its own."""
    from geomlab import clip

    if spec.positional != "custom":
        model = clip.create(spec, pretrained=pretrained)
        return model, preprocessing_of_clip(model), {}
    spec.only()
    if config is None:
        raise UserError(f"'{spec.text}' describes itself in a checkpoint; give --model open_clip:NAME")
    return clip.build(config), Preprocessing(), config


def _zero_shot(model: Any, tokenize: Any, labels: Labels, own: Preprocessing) -> Network:
    from geomlab import clip

    head = clip.kept_head(model, tokenize, labels.classes, labels.templates)
    made_from = {**asdict(labels), "text": params.digest(clip.text_state(model))}
    bias = model.bias(len(labels.classes)) if isinstance(model, clip.TwoTowers) else None
    return Network(clip.ClipClassifier(model.visual, head, bias).eval(), own, labels.classes, made_from)


def preprocessing_of_clip(model: Any) -> Preprocessing:
    """What open_clip puts before a CLIP of its own list."""
    import open_clip as library

    info = getattr(model.visual, "preprocess_cfg", {})
    given = info.get("size", model.visual.image_size)
    size = given if isinstance(given, int) else given[0]
    return Preprocessing(
        size,
        tuple(info.get("mean", library.OPENAI_DATASET_MEAN)),
        tuple(info.get("std", library.OPENAI_DATASET_STD)),
        *resizing(size, size, info.get("interpolation", "bicubic"), info.get("resize_mode", "shortest")),
    )


def check_activation(architecture: Mapping[str, Any] | None, spec: str) -> None:
    """Refuse `--model` where a checkpoint says that its CLIP has the other one of GELU and QuickGELU.

    Args:
        architecture: of the checkpoint, `{"spec", "config"}`, or None.
        spec: the model SPEC given in its place.

    Raises:
        UserError: with the name to give in its place.
    """
    if architecture is None or parse(spec).head != "open_clip":
        return
    from geomlab import clip

    clip.activation.check_recorded(architecture, spec)
