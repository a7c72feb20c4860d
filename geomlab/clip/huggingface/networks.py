"""Networks of transformers from the sizes in a config, and their weights in the forms they are saved in."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from geomlab import weights
from geomlab.clip import limits
from geomlab.clip.forms import BIAS, ClipWeights, unwrapped
from geomlab.clip.huggingface.repository import CONFIG, Repository
from geomlab.errors import UserError
from geomlab.weights import HEAD

KINDS = {"clip": "CLIP", "siglip": "Siglip"}
"""`model_type` of a config, and how transformers' classes of it begin."""
_SIZES = frozenset({
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "projection_dim", "projection_size", "vocab_size", "max_position_embeddings", "eos_token_id",
    "num_channels", "image_size", "patch_size", "vision_use_head",
})  # fmt: skip
_IMAGE, _TEXT = ("vision_model.", "visual_projection."), ("text_model.", "text_projection.")
_TOWER = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")  # the layrnorm is transformers'
# Of transformers before 4.31: numbers from 0 on, which it makes itself.
_POSITIONS = ".position_ids"


def create(repository: Repository, *, pretrained: bool = True) -> Any:
    """A `CLIPModel` or a `SiglipModel`, in float32.

    Only sizes are taken from the config: nothing in it can name code, or a kernel of the hub. Attention is torch's own,
    which is twice differentiable under `plain_attention`, as open_clip's is; that of transformers' `eager` takes its
    softmax in float32 whatever the precision (5.24).

    Args:
        repository: of the model.
        pretrained: whether its weights are loaded. Without, they are not looked for.

    Raises:
        UserError: if transformers is missing, the config is of another kind of model or describes none, or the weights
            cannot be read or do not fit.
    """
    config = repository.json(CONFIG)
    if config is None:
        raise UserError(f"'{repository.spec}': holds no {CONFIG}, which every model of transformers has")
    begins = KINDS.get(str(config.get("model_type")))
    if begins is None:
        raise UserError(
            f"'{repository.spec}': a model of type {config.get('model_type')}; of transformers' models geomlab takes "
            f"{' and '.join(KINDS)}"
        )
    model = _empty(repository, config, begins)
    _check_shapes(repository, model)
    if pretrained:
        read = repository.weights()
        try:
            fill(model, of_transformers(read.tensors), repository.spec, whole=True)
        except UserError as error:
            raise UserError(f"{read.path}: {error}") from error
    return model


def of_transformers(tensors: Mapping[str, Tensor]) -> ClipWeights:
    """Name the tensors as a whole model of transformers does, and tell whether the text tower is there.

    Whole, or the image tower alone (`CLIPVisionModelWithProjection`, `SiglipVisionModel`), with a trained head beside.

    Args:
        tensors: a state_dict.
    """
    state = {name: tensor for name, tensor in unwrapped(tensors).items() if not name.endswith(_POSITIONS)}
    head, bias = state.pop(HEAD, None), state.pop(BIAS, None)
    text = any(name.startswith(_TEXT) for name in state)
    if not text and any(name.startswith(_TOWER) for name in state):
        state = {
            name if name.startswith(_IMAGE) else f"vision_model.{name}": tensor
            for name, tensor in state.items()
        }
    if not text:
        state = {name: tensor for name, tensor in state.items() if name.startswith(_IMAGE)}
    return ClipWeights(state, head, bias, text, openai=False)


def fill(model: nn.Module, given: ClipWeights, spec: str, *, whole: bool = False) -> None:
    """Load what a file has: all of a model, or its image tower.

    Args:
        model: of transformers.
        given: the weights.
        spec: the SPEC, for messages.
        whole: whether the text tower has to be there.

    Raises:
        UserError: if they do not fit, or the text tower is missing.
    """
    own = model.state_dict()
    rest = {} if given.text or whole else {name: own[name] for name in own if not name.startswith(_IMAGE)}
    numbers: dict[str, Tensor] = {
        name: given.tensors[name].reshape(own[name].shape)  # a number, or a list of one
        for name in ("logit_scale", "logit_bias")
        if name in given.tensors and name in own and given.tensors[name].numel() == own[name].numel()
    }
    weights.load(model, {**rest, **given.tensors, **numbers}, spec)


def _empty(repository: Repository, config: Mapping[str, Any], begins: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"'{repository.spec}' needs transformers ({error}); pip install 'geomlab[transformers]'"
        ) from error
    try:
        described, kind = getattr(transformers, f"{begins}Config")(**_parts(config)), f"{begins}Model"
        layers = (described.vision_config.num_hidden_layers, described.text_config.num_hidden_layers)
        limits.check(layers, lambda: getattr(transformers, kind)(described))
        return getattr(transformers, kind)._from_config(described, attn_implementation="sdpa")
    except (
        Exception
    ) as error:  # transformers' and torch's constructors fail in many ways on sizes they do not expect
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"'{repository.spec}': its {CONFIG} does not describe a model of type {config['model_type']} "
            f"({type(error).__name__}: {said})"
        ) from error


def _parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of transformers' config."""
    towers = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")
    parts: dict[str, Any] = {
        name: {key: value for key, value in dict(config[name]).items() if key in _SIZES}
        for name in towers
        if config.get(name) is not None
    }
    # Numbers that only a text generator reads; transformers prints a line on those that are beyond the vocabulary.
    unread = (
        "bos_token_id",
        "pad_token_id",
        *(("eos_token_id",) if config["model_type"] == "siglip" else ()),
    )
    parts["text_config"] = {**parts.get("text_config", {}), **dict.fromkeys(unread)}
    return {**parts, **{key: config[key] for key in ("projection_dim",) if key in config}}


def _check_shapes(repository: Repository, model: Any) -> None:
    """Refuse a model that does not compare square images with texts, or in a way that is not known."""
    image, text = model.config.vision_config, model.config.text_config
    wrong = None
    if not isinstance(image.image_size, int) or not isinstance(image.patch_size, int):
        wrong = f"images of {image.image_size} in patches of {image.patch_size}, expected squares"
    elif not getattr(image, "vision_use_head", True):
        wrong = "an image tower without a pooling head, which gives no embedding"
    elif getattr(text, "projection_size", None) not in (None, image.hidden_size) and not hasattr(
        model, "text_projection"
    ):
        wrong = f"embeddings of {text.projection_size} numbers for texts and {image.hidden_size} for images"
    elif hasattr(model, "text_projection") and not isinstance(text.eos_token_id, int):
        wrong = f"an eos_token_id of {text.eos_token_id}, expected the number of the token that ends a text"
    if wrong:
        raise UserError(f"'{repository.spec}': its {CONFIG} has {wrong}")
