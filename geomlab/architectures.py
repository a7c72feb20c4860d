"""Name -> network. `open_clip:NAME`, `timm:NAME`, `torchvision:NAME`, `MODULE:FACTORY`."""

import importlib
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geomlab import params
from geomlab.devices import out_of_memory
from geomlab.errors import OutOfMemory, UserError
from geomlab.spec import Spec, parse

if TYPE_CHECKING:
    from geomlab.clip import TextTower

KNOWN = ("open_clip:NAME", "timm:NAME", "torchvision:NAME", "MODULE:FACTORY")
HEAD = "head.weight"  # of a CLIP's image tower, in a checkpoint and in the classifier
CLASSES = 1000  # of the networks of timm and torchvision, where nobody says another number


@dataclass(frozen=True)
class Preprocessing:
    """What stands between images in [0, 1] and a network.

    Attributes:
        size: side of the square input in pixels, or None for any.
        mean: of each channel, subtracted.
        std: of each channel, divided by.
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, eq=False)
class Network:
    """A built classifier.

    Attributes:
        module: normalised images -> logits, its weights loaded, in eval mode.
        preprocessing: applied before it.
        classes: names of the classes where they are known.
        zero_shot: what a zero-shot head was computed from, JSON-able; None where the head was read or there is none.
        text: the text side of a CLIP whose classes are known, or None.
    """

    module: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None
    zero_shot: Mapping[str, Any] | None = None
    text: "TextTower | None" = None


@dataclass(frozen=True)
class Labels:
    """What a zero-shot head is made of."""

    classes: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}.",)


@torch.random.fork_rng(devices=[])  # layers draw from the global generator, which is not ours
def build(
    spec: str,
    tensors: Mapping[str, Tensor] | None,
    *,
    config: Mapping[str, Any] | None = None,
    labels: Labels | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Network:
    """Build a classifier and load weights into it.

    Args:
        spec: the model SPEC.
        tensors: the state_dict to load, or None to keep the builder's own weights (those of a pretrained tag).
        config: the network's full description for `open_clip:custom`.
        labels: class names and templates; a CLIP without a trained head needs them.
        preprocessing: fields of `Preprocessing`, in place of the builder's own.

    Raises:
        UserError: if the SPEC is unknown, the weights do not fit, or the user's own module cannot be copied.
    """
    parsed = parse(spec)
    if parsed.head == "open_clip":
        network = _open_clip(parsed, tensors, config, labels)
        return replace(network, preprocessing=replace(network.preprocessing, **preprocessing or {}))
    if parsed.head in ("timm", "torchvision"):
        parsed.only()
        module, own = (_timm if parsed.head == "timm" else _torchvision)(parsed, tensors)
    else:
        module, own = call_factory(parsed, "model", KNOWN), Preprocessing()
        if not isinstance(module, nn.Module):
            raise UserError(
                f"'{spec}': expected an nn.Module from the factory, got a {type(module).__name__}"
            )
        module = copied(module)  # it may be one the user goes on using
    if tensors is not None:
        load(module, tensors, spec)
    names = labels.classes if labels else None
    return Network(module.eval(), replace(own, **preprocessing or {}), names)


def load(module: nn.Module, tensors: Mapping[str, Tensor], spec: str) -> None:
    """Load a state_dict strictly, after checking it.

    Raises:
        UserError: naming at most five keys that are missing, unexpected, of another shape or no real numbers.
    """
    own = module.state_dict()
    # Files older than torch 0.4.1 lack this counter, which no evaluation reads; torch itself lets it be missing.
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    problems = [f"missing {name}" for name in own if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems += [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}, expected floating-point numbers"
        for name in own
        if name in tensors and own[name].is_floating_point() and not tensors[name].is_floating_point()
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"the weights do not fit {spec}: {'; '.join(problems[:5])}{more}; name the right network with --model"
        )
    module.load_state_dict(dict(tensors))


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module, in memory of its own.

    Raises:
        UserError: if there is none, or no weights could be passed into it.
    """
    scripted = [name for name, child in module.named_modules() if isinstance(child, torch.jit.ScriptModule)]
    if scripted:
        raise UserError(
            f"the network holds a torch.jit.ScriptModule ({scripted[0] or 'all of it'}), into which no weights can be "
            "passed; build it without torch.jit"
        )
    try:
        return deepcopy(module)
    except Exception as error:  # the user's own module may fail in any way
        if out_of_memory(error):
            raise
        raise UserError(
            f"the network cannot be copied: {reason(error)}; keep in it only what copy.deepcopy can copy, and use "
            "torch.nn.utils.parametrizations.weight_norm in place of torch.nn.utils.weight_norm"
        ) from error


def call_factory(spec: Spec, kind: str, known: Sequence[str]) -> Any:
    """Call the user's own `MODULE:FACTORY`; modules are looked up from the working folder too.

    Args:
        spec: the SPEC.
        kind: what the factory makes, `model` or `data source`.
        known: the SPECs there are of that kind, said where there is no such module.

    Raises:
        UserError: if the module or the callable does not exist, or either fails.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(spec.head)
    except ModuleNotFoundError as error:
        if error.name and spec.head != error.name and not spec.head.startswith(f"{error.name}."):
            raise UserError(f"'{spec.text}': importing {spec.head} failed: {error}") from error
        raise UserError(
            f"'{spec.text}': no module {spec.head} here or installed; a {kind} is one of {', '.join(known)}"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code may do anything
        raise UserError(f"'{spec.text}': importing {spec.head} failed: {reason(error)}") from error
    factory: Callable[..., Any] | None = getattr(module, spec.positional, None) if spec.positional else None
    if not callable(factory):
        raise UserError(
            f"'{spec.text}': {spec.head} has no callable '{spec.positional}'; write MODULE:FACTORY"
        )
    try:
        return factory(**dict(spec.options))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"'{spec.text}': the factory failed: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What an exception of the user's code says, and the line it came from."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})" if last else ""
    text = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {text}{where}"


def _open_clip(
    spec: Spec,
    tensors: Mapping[str, Tensor] | None,
    config: Mapping[str, Any] | None,
    labels: Labels | None,
) -> Network:
    """A CLIP's image tower with its trained head (`head.weight`), or else the zero-shot head."""
    # Not above: it imports open_clip, half the time a command takes to start, and only a CLIP needs it.
    from geomlab import clip

    spec.only("pretrained")
    if spec.positional == "custom":
        if config is None:
            raise UserError(f"'{spec.text}' describes itself in a checkpoint; give --model open_clip:NAME")
        model, own, own_config = clip.build(config), Preprocessing(), config
    else:
        model = clip.create(spec)
        own, own_config = preprocessing_of_clip(model), {}
    head, zero_shot = None, None
    if tensors is not None:
        rest = dict(tensors)
        head = rest.pop(HEAD, None)
        load(model, rest, spec.text)
        if head is not None:
            head = clip.checked_head(head, own_config, spec.positional).to(model.logit_scale.dtype)
    if head is None:
        if labels is None:
            raise UserError(
                f"{spec.text}: a CLIP needs class names for its zero-shot head; give --data with names"
            )
        head = clip.zero_shot_head(
            model.eval(), clip.tokenizer(own_config, spec.positional), labels.classes, labels.templates
        )
        zero_shot = {**asdict(labels), "text": params.digest(clip.text_state(model))}
    classifier = clip.ClipClassifier(model.visual, head).eval()
    if labels is None:
        return Network(classifier, own)
    tokenize = clip.tokenizer(own_config, spec.positional)
    text = clip.TextTower.of(model, tokenize, labels.classes, labels.templates)
    return Network(classifier, own, labels.classes, zero_shot, text)


def preprocessing_of_clip(model: Any) -> Preprocessing:
    """What open_clip puts before a CLIP of its own list."""
    import open_clip

    info = getattr(model.visual, "preprocess_cfg", {})
    size = info.get("size", model.visual.image_size)
    return Preprocessing(
        size if isinstance(size, int) else size[0],
        tuple(info.get("mean", open_clip.OPENAI_DATASET_MEAN)),
        tuple(info.get("std", open_clip.OPENAI_DATASET_STD)),
    )


def _timm(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    import timm

    if not timm.is_model(spec.positional):
        raise UserError(f"'{spec.text}': timm has no model '{spec.positional}'; see timm.list_models()")
    try:
        config = timm.models.get_pretrained_cfg(spec.positional)
    except RuntimeError as error:
        raise UserError(f"'{spec.text}': {error} See timm.list_pretrained()") from error
    name = config.classifier if config else None  # of a distilled network two, of as many classes each
    module = timm.create_model(
        spec.positional, num_classes=_rows(tensors, name if isinstance(name, str | None) else name[0])
    )
    config = timm.data.resolve_data_config({}, model=module)
    return module, Preprocessing(config["input_size"][-1], config["mean"], config["std"])


def _torchvision(spec: Spec, tensors: Mapping[str, Tensor] | None) -> tuple[nn.Module, Preprocessing]:
    import torchvision

    if spec.positional not in torchvision.models.list_models():
        raise UserError(
            f"'{spec.text}': torchvision has no model '{spec.positional}'; see models.list_models()"
        )
    module = torchvision.models.get_model(spec.positional, weights=None)
    # In each of its classifiers the head is the last of these in the module, in whatever order a file has the names.
    maps = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)]
    outputs = _rows(tensors, maps[-1] if maps else None)
    if outputs != CLASSES:
        module = torchvision.models.get_model(spec.positional, weights=None, num_classes=outputs)
    # torchvision's classification weights are all trained with these (its docs, "Classification").
    return module, Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _rows(tensors: Mapping[str, Tensor] | None, classifier: str | None) -> int:
    """Number of classes: rows of the classifier's weight; the builders' own where there is no such tensor."""
    weight = (tensors or {}).get(f"{classifier}.weight")
    return CLASSES if weight is None or weight.ndim == 0 else len(weight)


def network_of(metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """SPEC and config of the network a checkpoint says it is. Never a factory: that is code.

    Raises:
        UserError: if the checkpoint asks for the user's own code, which only `--model` may name.
    """
    if "adapters" in metadata:
        raise UserError(
            "holds low-rank adapters alone; make a checkpoint of them: grace merge BASE FILE --out OUT"
        )
    architecture = metadata["architecture"]
    spec = str(architecture["spec"])
    if runs_code(spec):
        raise UserError(
            f"the checkpoint asks to run '{spec}'; if you trust it, name it yourself: --model {spec}"
        )
    return spec, architecture.get("config")


def labels_of(metadata: Mapping[str, Any], data: Labels | None = None) -> Labels | None:
    """Class names and templates of a checkpoint; those of the data where it has none."""
    classes, templates = metadata.get("classes"), metadata.get("templates")
    if classes:
        return Labels(tuple(classes), tuple(templates or Labels.templates))
    return replace(data, templates=tuple(templates)) if data and templates else data


def preprocessing_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Preprocessing` that a checkpoint records; a size of null is any size.

    Raises:
        UserError: if they are no such numbers.
    """
    given = metadata.get("preprocessing") or {}
    try:
        fields: dict[str, Any] = {
            name: tuple(map(float, given[name])) for name in ("mean", "std") if given.get(name) is not None
        }
        if "size" in given:
            fields["size"] = None if given["size"] is None else operator.index(given["size"])
        channels = {len(fields[name]) for name in ("mean", "std") if name in fields}
        size = fields.get("size")
        if len(channels) > 1 or 0 in channels or (size is not None and size < 1):
            raise ValueError("numbers, but not such ones")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the checkpoint's preprocessing is {given}; expected numbers: size, a whole one of at least 1, "
            "and mean and std, one a channel each"
        ) from error
    return fields


def runs_code(spec: str) -> bool:
    """Whether a model SPEC is a `MODULE:FACTORY`: code, which a checkpoint may not name."""
    return parse(spec).head not in ("open_clip", "timm", "torchvision")


@torch.no_grad()
def try_on(network: Callable[[Tensor], Any], images: Tensor, preprocessing: Preprocessing, name: str) -> Any:
    """What a network gives for a few images, whatever that is.

    Args:
        network: images in [0, 1] -> its output.
        images: (n, C, H, W).
        preprocessing: what stands before it; its mean tells the channels.
        name: of the network, for the message.

    Raises:
        UserError: if it cannot take them.
        OutOfMemory: if memory does not suffice.
    """
    channels, shape = len(preprocessing.mean), tuple(images.shape[1:])
    if channels > 1 and channels != shape[0]:
        raise UserError(f"{name} takes images of {channels} channels, got images of shape {shape}")
    try:
        return network(images)
    except Exception as error:  # the user's own module may fail in any way
        many = f"{len(images)} image{'s' if len(images) > 1 else ''} of shape {shape} at once"
        if out_of_memory(error):
            raise OutOfMemory(
                f"{name}: not enough memory for {many}; give a lower --batch-size, and --resume where there are results"
            ) from error
        raise UserError(f"{name} cannot take {many}: {reason(error)}") from error


@torch.no_grad()
def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        UserError: naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(f"{name} holds {bad} values that are NaN or infinite; use an earlier checkpoint")
