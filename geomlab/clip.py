"""Small pieces around open_clip: a word tokenizer, the zero-shot head, and the image classifier they make."""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab import prompts
from geomlab.errors import UserError
from geomlab.spec import Spec
from geomlab.typing import Features, Float, Images, Int, Logits

PROMPTS = 1000  # texts of which the text side's features are taken; of more classes one each: ours


@runtime_checkable
class Tokenizer(Protocol):
    """Texts -> token numbers (n, context)."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Tokenise texts."""
        ...


class WordTokenizer:
    """Whole words from a small fixed vocabulary.

    The end-of-text token has the largest number, since open_clip pools the text at the arg max.

    Args:
        words: the vocabulary, without repeats.
        context_length: tokens a text, the start and end tokens included.
    """

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self.words = tuple(words)
        self.context_length = context_length
        self._number = {word: i + 1 for i, word in enumerate(self.words)}  # 0 pads
        self.start, self.end = len(self.words) + 1, len(self.words) + 2

    @property
    def vocab_size(self) -> int:
        """Number of tokens: padding, the words, start, end."""
        return len(self.words) + 3

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "n context"]:
        """Tokenise texts.

        Raises:
            UserError: on a word outside the vocabulary, or a text that is too long.
        """
        rows = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            words = text.lower().split()
            unknown = [word for word in words if word not in self._number]
            if unknown or len(words) + 2 > self.context_length:
                why = f"unknown words {unknown}" if unknown else f"more than {self.context_length - 2} words"
                raise UserError(f"cannot tokenise '{text}': {why}; this model knows: {' '.join(self.words)}")
            numbers = [self.start, *(self._number[word] for word in words), self.end]
            row[: len(numbers)] = torch.tensor(numbers)
        return rows


def build(config: Mapping[str, Any]) -> CLIP:
    """An open_clip `CLIP` from `{"embed_dim", "vision_cfg", "text_cfg"[, "quick_gelu"]}`, randomly initialised.

    With a number of `prompts` its image tower has so many prompt tokens (geomlab/prompts.py), which are zero.

    Raises:
        UserError: if it does not describe one, or asks for a tower that other libraries would fetch.
    """
    try:
        towers = [*config["vision_cfg"], *config["text_cfg"]]
        fetched = [key for key in towers if key.startswith(("hf_", "timm_"))]
        if fetched:
            raise UserError(
                f"the config names what would be downloaded ({', '.join(fetched[:5])}); remove it"
            )
        network = CLIP(
            embed_dim=config["embed_dim"],
            vision_cfg=CLIPVisionCfg(**config["vision_cfg"]),
            text_cfg=CLIPTextCfg(**config["text_cfg"]),
            quick_gelu=config.get("quick_gelu", False),
        )
        if prompts.NAME in config:
            tokens = torch.zeros(config[prompts.NAME], prompts.width(network.visual))
            prompts.add(network.visual, tokens)
        return network
    except UserError:
        raise
    except Exception as error:  # open_clip's constructors fail in any way on numbers they do not expect
        raise UserError(
            f"its config does not describe a CLIP of open_clip ({type(error).__name__}: {error}); write it anew"
        ) from error


def config_of(name: str) -> dict[str, Any]:
    """The full description of a model of open_clip's own list, as `build` takes it.

    Raises:
        UserError: if it has parts that `build` does not make.
    """
    config: dict[str, Any] = open_clip.get_model_config(name)
    other = sorted(set(config) - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
    if other:
        raise UserError(f"{name} is no plain CLIP ({', '.join(other)}); start from ViT-B-32, say")
    return config


def create(spec: Spec) -> CLIP:
    """A model of open_clip's own list, `open_clip:NAME[,pretrained=TAG]`.

    What open_clip logs of weights that are not loaded is kept back: it was asked for, or it is raised.

    Raises:
        UserError: if there is no such model or tag, or its weights cannot be had.
    """
    spec.only("pretrained")
    name, tag = spec.positional, spec.option("pretrained")
    if name not in open_clip.list_models():
        raise UserError(f"'{spec.text}': open_clip has no model '{name}'; see open_clip.list_models()")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag is not None and tag not in tags:
        raise UserError(f"'{spec.text}': no pretrained tag '{tag}'; {name} has {', '.join(tags) or 'none'}")
    root = logging.getLogger()
    root.addFilter(_is_news)
    try:
        return open_clip.create_model(name, pretrained=tag, pretrained_image=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"'{spec.text}': open_clip cannot get its weights: {reason}") from error
    finally:
        root.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not message.startswith(("No pretrained weights loaded", "Failed to download"))


def tokenizer(config: Mapping[str, Any], name: str) -> Tokenizer:
    """The tokenizer of a model: of its own config, with or without a word list, or open_clip's for a model name.

    Args:
        config: one that `build` takes, with `words` where it has a vocabulary of its own; empty for a model name.
        name: of the model.

    Raises:
        UserError: if the words are no list of texts, or the text tower has fewer tokens than the tokenizer.
    """
    text = CLIPTextCfg(**config.get("text_cfg", {}))
    words = config.get("words")
    if words is None:
        tokenize = (
            open_clip.SimpleTokenizer(context_length=text.context_length)
            if config
            else open_clip.get_tokenizer(name)
        )
    elif isinstance(words, list | tuple) and all(isinstance(word, str) for word in words):
        tokenize = WordTokenizer(words, text.context_length)
    else:
        raise UserError(f"the config's words are {str(words)[:60]}; expected a list of texts")
    if config and tokenize.vocab_size > text.vocab_size:
        raise UserError(
            f"the config's text_cfg has a vocab_size of {text.vocab_size}, fewer than the {tokenize.vocab_size} "
            "tokens of its tokenizer (the words, and three); write it anew"
        )
    return cast(Tokenizer, tokenize)


def checked_head(head: Tensor, config: Mapping[str, Any] | None, name: str) -> Float[Tensor, "classes dim"]:
    """The trained head of a checkpoint, (classes, dim), dim that of the embeddings.

    Args:
        head: as read.
        config: one that `build` takes; empty or None for a model name.
        name: of the model, in open_clip's list.

    Raises:
        UserError: if it is no such matrix of floating-point numbers.
    """
    dim = (config or open_clip.get_model_config(name))["embed_dim"]
    if head.ndim != 2 or head.shape[1] != dim or not head.is_floating_point():
        kind = str(head.dtype).removeprefix("torch.")
        raise UserError(
            f"head.weight is {kind} {tuple(head.shape)}, expected floating-point numbers (classes, {dim}); "
            "write the head anew, or leave it out for the zero-shot head"
        )
    return head


def text_state(model: CLIP) -> dict[str, Tensor]:
    """What a zero-shot head is computed with: the state_dict without the image tower."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("visual.")}


@torch.no_grad()
def zero_shot_head(
    model: CLIP, tokenize: Tokenizer, classes: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "classes dim"]:
    """Class weights: normalised mean of normalised template embeddings, times the logit scale.

    This is open_clip's `build_zero_shot_classifier` with the scale folded in (Radford et al. 2021, 3.1.4).

    Args:
        model: a CLIP.
        tokenize: its tokenizer.
        classes: C class names.
        templates: texts in which `{}` stands for the class name.
    """
    device = model.logit_scale.device
    rows = []
    for name in classes:
        tokens = tokenize([template.replace("{}", name) for template in templates]).to(device)
        mean = F.normalize(model.encode_text(tokens), dim=-1).mean(dim=0)
        rows.append(F.normalize(mean, dim=-1))
    scale: Tensor = model.logit_scale.exp()
    return torch.stack(rows) * scale


@dataclass(frozen=True, eq=False)
class TextTower:
    """The text side of a CLIP, for features of texts; evaluated where its weights are.

    Attributes:
        model: a CLIP, of which the image tower is not used.
        tokenize: its tokenizer.
        classes: C class names.
        templates: texts in which `{}` stands for the class name.
    """

    model: CLIP
    tokenize: Tokenizer
    classes: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(
        cls, model: CLIP, tokenize: Tokenizer, classes: Sequence[str], templates: Sequence[str]
    ) -> "TextTower":
        """A copy of a CLIP without its image tower."""
        image, model.visual = model.visual, nn.Identity()
        try:
            text = deepcopy(model).eval().requires_grad_(False)
        finally:
            model.visual = image
        return cls(text, tokenize, tuple(classes), tuple(templates))

    def prompts(self, most: int = PROMPTS) -> list[str]:
        """Every class in each of the first templates, at least one, of which there are at most so many texts."""
        chosen = self.templates[: max(1, most // len(self.classes))]
        return [template.replace("{}", name) for template in chosen for name in self.classes]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "TextTower":
        """A copy on another device or of another precision."""
        return replace(self, model=deepcopy(self.model).to(device, dtype))


class ClipClassifier(nn.Module):
    """The image tower of a CLIP and a linear head on its normalised features.

    Args:
        visual: the image tower, normalised images -> (n, dim).
        head: (C, dim) class weights, the logit scale folded in.
    """

    def __init__(self, visual: nn.Module, head: Float[Tensor, "classes dim"]) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(head.shape[1], head.shape[0], bias=False)
        self.head.weight = nn.Parameter(head.clone())

    def embed(self, images: Images) -> Features:
        """What feeds the head: ℓ2-normalised image embeddings (n, dim)."""
        return F.normalize(self.visual(images), dim=-1)

    def forward(self, images: Images) -> Logits:
        """Logits (n, C)."""
        logits: Tensor = self.head(self.embed(images))
        return logits
