"""The forms that a CLIP's weights are saved in, and open_clip's names for them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from geomlab import weights
from geomlab.clip import activation
from geomlab.errors import UserError
from geomlab.weights import HEAD

BIAS = "head.bias"  # of wise-ft's classifiers
SIZES = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Beside the weights in the archives of OpenAI, and so in a state_dict made of one; of no other origin."""
# https://github.com/mlfoundations/wise-ft: an ImageClassifier of a CLIP without its text blocks and a linear head.
_WISE_FT = {"image_encoder.model.": "", "classification_head.weight": HEAD, "classification_head.bias": BIAS}
_WRAPPER = "model."  # of Lightning, and of RobustVLM's ClipVisionModel
_TEXT = (
    "positional_embedding",
    "text_projection",
    "token_embedding.",
    "transformer.",
    "ln_final.",
    "attn_mask",
)


@dataclass(frozen=True, eq=False)
class ClipWeights:
    """A state_dict of a CLIP under open_clip's names.

    Attributes:
        tensors: of the image tower, and with `text` of all the rest.
        head: (classes, dim) class weights where the file has some.
        bias: (classes,) of the head, where it has one.
        text: whether the text tower is there.
        openai: whether it is known to come from OpenAI.
    """

    tensors: Mapping[str, Tensor]
    head: Tensor | None
    bias: Tensor | None
    text: bool
    openai: bool


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict without what Lightning and others put before every name."""
    state = dict(tensors)
    while state and all(name.startswith(_WRAPPER) for name in state):
        state = {name.removeprefix(_WRAPPER): tensor for name, tensor in state.items()}
    return state


def has_text(names: Collection[str]) -> bool:
    """Whether there is a text tower: its embedding alone is what wise-ft leaves of one."""
    own = any(name.startswith("text.") for name in names)
    return own or (
        "token_embedding.weight" in names and any(name.startswith("transformer.") for name in names)
    )


def of_clip(tensors: Mapping[str, Tensor]) -> ClipWeights:
    """Tell the form, and name the tensors as open_clip does.

    Whole or the image tower alone (FARE, TeCoA), with or without `visual.` before its names; OpenAI's, with three
    sizes beside; wise-ft's classifiers.

    Args:
        tensors: a state_dict.
    """
    state = unwrapped(tensors)
    for before, after in _WISE_FT.items():
        state = {
            after + name.removeprefix(before) if name.startswith(before) else name: tensor
            for name, tensor in state.items()
        }
    openai = set(state) >= SIZES
    head, bias = state.pop(HEAD, None), state.pop(BIAS, None)
    for name in SIZES if openai else ():
        del state[name]
    text = has_text(state)
    if not text and not any(name.startswith("visual.") for name in state):
        state = {f"visual.{name}": tensor for name, tensor in state.items()}
    if not text:
        state = {name: tensor for name, tensor in state.items() if name.startswith("visual.")}
    return ClipWeights(state, head, bias, text, openai)


def fitted(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole state_dict with its text tower where the model has it, at the top or under `text`; scales as numbers.

    Args:
        tensors: under open_clip's names, old or new.
        own: the model's state_dict.
    """
    state = dict(tensors)
    under = any(name.startswith("text.") for name in own)
    if under and "text_projection" in state:
        state = {f"text.{name}" if name.startswith(_TEXT) else name: tensor for name, tensor in state.items()}
    elif not under:
        state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own and state[name].numel() == own[name].numel() == 1:
            state[name] = state[name].reshape(own[name].shape)
    return state


def fill(model: nn.Module, given: ClipWeights, name: str, spec: str, *, whole: bool = False) -> None:
    """Load what a file has: all of a CLIP, or its image tower.

    Args:
        model: of open_clip.
        given: the weights.
        name: of the model.
        spec: the SPEC, for messages.
        whole: whether the text tower has to be there.

    Raises:
        UserError: if they do not fit, a tower is missing, or OpenAI's weights would be run with another activation than
            they were trained with.
    """
    if given.openai:
        activation.check(name, trained=True, why="OpenAI's weights were trained")
    if whole and not given.text:
        raise UserError(f"'{spec}': holds an image tower alone; pretrained takes a file of both towers")
    own = model.state_dict()
    rest = {} if given.text else {key: own[key] for key in own if not key.startswith("visual.")}
    weights.load(model, {**rest, **fitted(given.tensors, own)}, spec)
