"""The network in training: a CLIP, and a linear head where a method trains one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from geomlab import architectures, clip
from geomlab.architectures import HEAD, Labels, Preprocessing
from geomlab.checkpoint import Checkpoint
from geomlab.clip import Tokenizer, WordTokenizer
from geomlab.errors import UserError
from geomlab.rng import derive_seed
from geomlab.spec import parse
from geomlab.typing import Features, Float, Images, Logits
from grace import lora


class Model(nn.Module):
    """A CLIP with its tokenizer, class names and normalisation.

    Args:
        network: both towers and the logit scale.
        tokenize: texts -> token numbers.
        labels: class names and templates.
        preprocessing: size and normalisation; images come in [0, 1].
        architecture: `{"spec", "config"}` as a checkpoint records it.
    """

    def __init__(
        self,
        network: CLIP,
        tokenize: Tokenizer,
        labels: Labels,
        preprocessing: Preprocessing,
        architecture: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.clip = network
        self.head: nn.Linear | None = None
        self.precision = torch.float32
        self.tokenize = tokenize
        self.labels = labels
        self.preprocessing = preprocessing
        self.architecture = dict(architecture)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    @property
    def normalises_by_batch(self) -> bool:
        """Whether a batch normalisation is in train mode: outputs then differ from those in eval mode."""
        return any(isinstance(module, _BatchNorm) and module.training for module in self.modules())

    def train(self, mode: bool = True) -> "Model":
        """Switch to train or eval mode; a batch normalisation that does not train keeps its running statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
                module.eval()
        return self

    def encode(self, images: Images) -> Features:
        """Image embeddings (n, dim) as the tower gives them, of images in [0, 1].

        Where `precision` is bfloat16 the tower computes in it, by autocast; the embeddings are float32 again.
        """
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        half = self.precision == torch.bfloat16
        with parametrize.cached(), torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            features: Tensor = self.clip.visual((images - mean) / std)
        return features.float() if half else features

    def embed(self, images: Images) -> Features:
        """Image embeddings (n, dim), ℓ2-normalised, of images in [0, 1]."""
        return F.normalize(self.encode(images), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """Text embeddings (n, dim), ℓ2-normalised."""
        tokens = self.tokenize(texts).to(self.get_buffer("mean").device)
        return F.normalize(self.clip.encode_text(tokens), dim=-1)

    def logits(self, images: Images) -> Logits:
        """Logits (n, C) of images in [0, 1].

        Raises:
            RuntimeError: if no head was added.
        """
        return self.classify(self.embed(images))

    def classify(self, features: Features) -> Logits:
        """Logits (n, C) of normalised image embeddings.

        Raises:
            RuntimeError: if no head was added.
        """
        if self.head is None:
            raise RuntimeError("there is no head; call add_zero_shot_head first")
        logits: Tensor = self.head(features)
        return logits

    def outputs(self, images: Images) -> int:
        """Number of classes, after trying the image tower on a few images.

        Raises:
            UserError: if it cannot take them.
        """
        architectures.try_on(self.embed, images, self.preprocessing, "the network")
        return len(self.labels.classes) if self.head is None else self.head.out_features

    def add_zero_shot_head(self) -> None:
        """Add a head of the class names' embeddings, the logit scale folded in, unless there is one."""
        if self.head is None:
            self.set_head(self.zero_shot_weight())

    def zero_shot_weight(self) -> Float[Tensor, "classes dim"]:
        """Class weights (C, dim) of a zero-shot head by the text tower as it is now, the logit scale folded in."""
        return clip.zero_shot_head(self.clip, self.tokenize, self.labels.classes, self.labels.templates)

    def set_head(self, weight: Tensor) -> None:
        """Put a head of class weights (C, dim) in place."""
        shape = (weight.shape[1], weight.shape[0])
        self.head = nn.utils.skip_init(nn.Linear, *shape, bias=False, device=weight.device)  # draws nothing
        self.head.weight = nn.Parameter(weight.detach().clone())

    def plain_names(self) -> dict[str, str]:
        """The module's own names of its parameters -> those they have in a checkpoint."""
        return {name: lora.plain_name(name).removeprefix("clip.") for name, _ in self.named_parameters()}

    def parameters_by_name(self) -> dict[str, nn.Parameter]:
        """Parameters under the names they have in a checkpoint; factors of adapters as `WEIGHT.lora_A`, `.lora_B`."""
        plain = self.plain_names()
        return {plain[name]: parameter for name, parameter in self.named_parameters()}

    def tensors(self) -> dict[str, Tensor]:
        """The state_dict of the CLIP, adapters merged, and `head.weight` where there is a head."""
        with torch.no_grad():
            return {name.removeprefix("clip."): tensor for name, tensor in lora.plain_state(self).items()}


def from_scratch(config: Mapping[str, Any], labels: Labels, preprocessing: Preprocessing, seed: int) -> Model:
    """A randomly initialised CLIP whose vocabulary is the words of the captions.

    Args:
        config: `{"embed_dim", "vision_cfg", "text_cfg"}`; the vocabulary is added.
        labels: class names and templates.
        preprocessing: of the images.
        seed: of the initialisation.
    """
    captions = [template.replace("{}", name) for template in labels.templates for name in labels.classes]
    words = sorted({word for caption in captions for word in caption.lower().split()})
    tokenize = WordTokenizer(words, config["text_cfg"]["context_length"])
    config = {
        **config,
        "text_cfg": {**config["text_cfg"], "vocab_size": tokenize.vocab_size},
        "words": words,
    }
    with _initialised(seed):
        network = clip.build(config)
    return Model(network, tokenize, labels, preprocessing, {"spec": "open_clip:custom", "config": config})


def from_checkpoint(checkpoint: Checkpoint, labels: Labels | None) -> Model:
    """The CLIP of a checkpoint, and its head where the classes are the same.

    Args:
        checkpoint: one that describes its network.
        labels: class names and templates of the training data; None takes the checkpoint's.

    Raises:
        UserError: if the checkpoint is no CLIP or does not say what it is, its weights do not fit or are not finite, or
            there are no class names.
    """
    try:
        model = _from_checkpoint(checkpoint, labels)
        architectures.check_finite(model.tensors())
        return model
    except UserError as error:
        raise UserError(f"{checkpoint.path or checkpoint.name}: {error}") from error


def _from_checkpoint(checkpoint: Checkpoint, labels: Labels | None) -> Model:
    if checkpoint.architecture is None:
        raise UserError("a bare state_dict does not say its network; start from open_clip:NAME")
    spec, config = architectures.network_of(checkpoint.metadata)
    own = architectures.labels_of(checkpoint.metadata)
    labels = labels or own
    if parse(spec).head != "open_clip" or labels is None:
        raise UserError(f"expected a CLIP and class names, got {spec}; start from another checkpoint")
    name = parse(spec).positional
    with _initialised(seed=0):  # every weight is loaded next
        network = clip.build(config) if config else clip.create(parse(spec))
    tensors = dict(checkpoint.tensors)
    head = tensors.pop(HEAD, None)
    architectures.load(network, tensors, spec)
    standard = Preprocessing() if config else architectures.preprocessing_of_clip(network)
    preprocessing = replace(standard, **architectures.preprocessing_of(checkpoint.metadata))
    model = Model(network, clip.tokenizer(config or {}, name), labels, preprocessing, checkpoint.architecture)
    if head is not None and own is not None and own.classes == labels.classes:
        head = clip.checked_head(head, config, name)
        if len(head) != len(own.classes):
            raise UserError(
                f"a head of {len(head)} classes and the names of {len(own.classes)}; write the checkpoint anew"
            )
        model.set_head(head)
    return model


def from_open_clip(text: str, labels: Labels | None, seed: int) -> Model:
    """A model of open_clip's own list, `open_clip:NAME[,pretrained=TAG]`.

    Args:
        text: the SPEC.
        labels: class names and templates of the training data.
        seed: of the initialisation, where no tag is given.

    Raises:
        UserError: if there is no such model or tag, its weights cannot be had, or there are no class names.
    """
    if labels is None:
        raise UserError(f"'{text}': a CLIP needs class names; give --data with names")
    spec = parse(text)
    with _initialised(seed):
        network = clip.create(spec)
    name, tag = spec.positional, spec.option("pretrained")
    preprocessing = architectures.preprocessing_of_clip(network)
    architecture = {"spec": f"open_clip:{built_name(name, tag)}", "config": None}
    tokenize = clip.tokenizer({}, name, fetch=clip.brings_weights(spec))
    return Model(network, tokenize, labels, preprocessing, architecture)


@contextmanager
def _initialised(seed: int) -> Iterator[None]:
    """Initialise layers from a seed. torch does so from its global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "init"))
        yield


def built_name(name: str, tag: str | None) -> str:
    """The name that builds a tag's network without it: some turn GELU into QuickGELU (open_clip#771)."""
    quick = tag is not None and open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    return f"{name}-quickgelu" if quick and not name.endswith("-quickgelu") else name
