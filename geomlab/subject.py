"""A network at a point in parameter space: what every measure is taken of."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from geomlab import architectures, params
from geomlab.architectures import Labels, Network, Preprocessing
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from geomlab.typing import Features, Images, Logits, Params

if TYPE_CHECKING:
    from geomlab.clip import TextTower  # which imports open_clip

FEATURES = "features"  # the name of the last layer: what feeds the last linear map


@dataclass(frozen=True, eq=False)
class Subject:
    """A network in eval mode and the parameters it is evaluated at.

    The module is only a skeleton: every call passes the parameters in, and nothing is written into it.

    Attributes:
        module: normalised images -> logits.
        weights: name -> tensor of each parameter that has entries and a derivative, in the order of the module.
        buffers: name -> tensor of each buffer, and of each parameter of integers or without entries.
        preprocessing: size and normalisation; images come in [0, 1] and are normalised here.
        classes: class names where they are known.
        name: for people.
        architecture: the model SPEC.
        config: what describes an `open_clip:custom` in full.
        zero_shot: what the head was computed from, if it is a CLIP's zero-shot head.
        text: the text side of a CLIP whose classes are known, or None. No other number than those of the text
            features depends on it, and the digest does not hold it where the head was trained.
    """

    module: nn.Module
    weights: Params
    buffers: Params
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None
    name: str = "network"
    architecture: str = ""
    config: Mapping[str, Any] | None = None
    zero_shot: Mapping[str, Any] | None = None
    text: "TextTower | None" = None

    def __call__(self, images: Images, weights: Params | None = None) -> Logits:
        """Logits (n, C) of images in [0, 1], at `weights` where given (missing names keep their values)."""
        logits: Tensor = self._run(images, weights or {})
        return logits

    def _run(self, images: Images, weights: Params) -> Any:
        """What the module gives, whatever that is."""
        state = {**self.weights, **weights, **self.buffers}
        return functional_call(self.module, state, (self._normalise(images),), tie_weights=_tied(self.module))

    def outputs(self, images: Images) -> int:
        """Number of classes, by trying the network on a few images.

        Raises:
            UserError: if it cannot take them, does not give logits, or writes into its weights.
        """
        before = {name: tensor._version for name, tensor in self.weights.items()}
        classes = self.logits(images).shape[1]
        written = [name for name, tensor in self.weights.items() if tensor._version != before[name]]
        if written:
            raise UserError(
                f"{self.name}: its forward pass writes into its weight {written[0]}, so that other weights would be "
                "measured than were read; leave it as it is (of an nn.Embedding: max_norm=None)"
            )
        return classes

    def logits(self, images: Images, weights: Params | None = None) -> Logits:
        """As a call, where the module may be seeing images of this kind, or so many, for the first time.

        Raises:
            UserError: if it cannot take them, or does not give logits.
            OutOfMemory: if memory does not suffice.
        """
        n, shape = len(images), tuple(images.shape[1:])
        logits = architectures.try_on(
            lambda x: self._run(x, weights or {}), images, self.preprocessing, self.name
        )
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"{self.name} must give logits (N, classes) for any N, got {got} for {n} images of shape {shape}; "
                "mend its forward pass"
            )
        return logits

    def at(self, weights: Params) -> "Subject":
        """The same network elsewhere in parameter space; names that are missing keep their values."""
        unknown = [name for name in weights if name not in self.weights]
        if unknown:
            raise KeyError(f"not parameters of {self.name}: {unknown[:5]}")
        return replace(self, weights={**self.weights, **weights}, zero_shot=None)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Subject":
        """The same on another device or of another precision; the new module and weights share their memory."""
        module = deepcopy(self.module).to(device, dtype)
        state = {**self.weights, **self.buffers}  # elsewhere than the module's own after `at`
        for name, own in (*module.named_parameters(), *module.named_buffers()):
            tensor = state[name].detach()
            own.data = tensor.to(device, dtype if tensor.is_floating_point() else None)
        text = self.text.to(device, dtype) if self.text else None
        return replace(self, module=module, weights=_weights(module), buffers=_buffers(module), text=text)

    def named(self, name: str) -> "Subject":
        """The same under another name."""
        return replace(self, name=name)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(iter(self.weights.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the parameters."""
        return next(iter(self.weights.values())).dtype

    @cached_property
    def digest(self) -> str:
        """SHA-256 over parameters and buffers, then the start of one over what is computed with them.

        That is the SPEC, the config and the preprocessing; the code behind a `MODULE:FACTORY` is not looked at. A
        zero-shot head counts by what it was computed from: its last bits depend on the machine and its threads.
        """
        described = {
            "spec": self.architecture,
            "config": self.config,
            "preprocessing": self.preprocessing.described(),
            "zero_shot": self.zero_shot,
        }
        state = {**self.weights, **self.buffers}
        if self.zero_shot is not None:
            del state[architectures.HEAD]
        network = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        return f"{params.digest(state)}-{network[:12]}"

    def layers(self, pattern: str | None = None) -> list[str]:
        """Names of inner layers whose outputs can be looked at, in the order of the module.

        Args:
            pattern: a regular expression over all submodule names; None takes the blocks: the members of the
                outermost `nn.Sequential` and `nn.ModuleList` containers.

        Raises:
            UserError: if the expression selects nothing.
        """
        if pattern is None:
            return _blocks(self.module)
        try:
            found = [name for name, _ in self.module.named_modules() if name and re.search(pattern, name)]
        except re.error as error:
            raise UserError(f"--layers '{pattern}' is not a regular expression: {error}") from error
        if not found:
            names = [name for name, _ in self.module.named_modules() if name]
            raise UserError(
                f"--layers '{pattern}' selects no layer of {self.name}; it has {', '.join(names[:8])}, …"
            )
        return found

    def activations(
        self,
        images: Images,
        layers: list[str],
        *,
        reduce: Callable[[str, Tensor], Tensor] = lambda _, output: output,
    ) -> dict[str, Tensor]:
        """Outputs of the named layers, and under `features` what feeds the last linear map.

        Args:
            images: (n, C, H, W) in [0, 1].
            layers: submodule names.
            reduce: what is kept of a layer's output, by its name: taken as the network runs, so that the maps of all
                layers are never held at once. Of `features` all is kept.

        Returns:
            Layer -> (n, …), in the order of `layers`, then `features`.
        """
        with _recorded(self.module, layers, reduce) as seen:
            self(images)
            if inspect.ismethod(getattr(self.module, "features", None)):
                state = {
                    f"module.{name}": tensor for name, tensor in {**self.weights, **self.buffers}.items()
                }
                seen[FEATURES] = functional_call(_OwnFeatures(self.module), state, (self._normalise(images),))
        missing = [name for name in layers if name not in seen]
        if missing:
            raise UserError(
                f"layers {missing[:5]} of {self.name} gave no tensor: they are not called as modules; "
                "narrow --layers (a $ ends a name)"
            )
        if FEATURES not in seen:
            raise UserError(
                f"{self.name} has no nn.Linear and no method features(x): its features are not known"
            )
        return {name: seen[name] for name in [*layers, FEATURES]}

    def features(self, images: Images) -> Features:
        """What feeds the last linear map (n, dim); for a CLIP the normalised image embeddings."""
        return self.activations(images, [])[FEATURES].flatten(1)

    def _normalise(self, images: Images) -> Images:
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        return (images - mean) / std

    def __repr__(self) -> str:
        count = sum(tensor.numel() for tensor in self.weights.values())
        return f"Subject({self.name}: {self.architecture}, {count:,} parameters, {self.dtype}, {self.device})"


def from_network(
    network: Network,
    *,
    name: str = "network",
    architecture: str = "",
    config: Mapping[str, Any] | None = None,
) -> Subject:
    """A subject from a built network; the module is copied, never changed.

    Raises:
        UserError: if it cannot be copied, a weight is not finite, or there is none.
    """
    module = architectures.copied(network.module).eval()
    architectures.check_finite(module.state_dict())
    module.requires_grad_(False)
    weights = _weights(module)
    if not weights:
        raise UserError(
            "the network has no parameter of floating-point numbers, so there is nothing to measure"
        )
    return Subject(
        module,
        weights,
        _buffers(module),
        network.preprocessing,
        network.classes,
        name,
        architecture,
        config,
        network.zero_shot,
        network.text,
    )


def load(checkpoint: Checkpoint, *, model: str | None = None, labels: Labels | None = None) -> Subject:
    """The subject of a checkpoint.

    Args:
        checkpoint: what was read.
        model: a model SPEC, in place of the checkpoint's `architecture`; its classes, templates and preprocessing hold.
        labels: class names and templates of the data, for a checkpoint that has none.

    Raises:
        UserError: if the network is not known, does not fit, or holds NaN.
    """
    config = None
    try:
        if model is None:
            if checkpoint.architecture is None:
                raise UserError("a bare state_dict does not say its network; give --model (and --data)")
            model, config = architectures.network_of(checkpoint.metadata, asked=not checkpoint.sha256)
        else:
            architectures.check_activation(checkpoint.architecture, model)
        network = architectures.build(
            model,
            checkpoint.tensors,
            config=config,
            labels=architectures.labels_of(checkpoint.metadata, labels),
            preprocessing=architectures.preprocessing_of(checkpoint.metadata),
        )
        return from_network(network, name=checkpoint.name, architecture=model, config=config)
    except UserError as error:
        raise UserError(f"{checkpoint.path or checkpoint.name}: {error}") from error


_TIED: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _tied(module: nn.Module) -> bool:
    """Whether a tensor of the module has several names; looked at once, which takes as long as a small network."""
    if module not in _TIED:
        every = [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
        _TIED[module] = len({id(tensor) for _, tensor in every}) < len(every)
    return _TIED[module]


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of a module that can be moved, by name, in its own memory."""
    return {name: tensor.detach() for name, tensor in module.named_parameters() if _moves(tensor)}


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    fixed = ((name, tensor) for name, tensor in module.named_parameters() if not _moves(tensor))
    return {name: tensor.detach() for name, tensor in (*module.named_buffers(), *fixed)}


def _moves(parameter: Tensor) -> bool:
    return parameter.numel() > 0 and (parameter.is_floating_point() or parameter.is_complex())


def _blocks(module: nn.Module) -> list[str]:
    found: list[str] = []
    for name, child in module.named_modules():
        if any(name.startswith(f"{block}.") for block in found):
            continue
        parent = module.get_submodule(name.rpartition(".")[0]) if name else None
        if isinstance(parent, nn.Sequential | nn.ModuleList) and not isinstance(
            child, nn.Sequential | nn.ModuleList
        ):
            found.append(name)
    return found


class _OwnFeatures(nn.Module):
    """Makes a module's own method `features(x)` the forward pass, so that parameters can be passed in."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        own: Callable[[Tensor], Tensor] = getattr(self.module, "features")  # noqa: B009 (typed as a submodule)
        return own(images)


@contextmanager
def _recorded(
    module: nn.Module, layers: list[str], reduce: Callable[[str, Tensor], Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Record outputs of layers, and the features, while the module runs; its hooks are always removed."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, value: object) -> None:
        if isinstance(value, tuple) and value:
            value = value[0]
        if isinstance(value, Tensor):
            seen[name] = reduce(name, value)

    def keep_features(value: object) -> None:
        if isinstance(value, Tensor):
            seen[FEATURES] = value

    handles = [
        module.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name in layers
    ]
    # The last linear map that runs is the head; what goes into it are the features.
    handles += [
        child.register_forward_pre_hook(lambda _m, inputs: keep_features(inputs[0]))
        for child in module.modules()
        if isinstance(child, nn.Linear)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
