"""Tokenizers: whole words of a small vocabulary, or open_clip's."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import open_clip
import torch
from open_clip.model import CLIPTextCfg
from torch import Tensor

from geomlab.errors import UserError, first_line
from geomlab.typing import Int


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


def tokenizer(config: Mapping[str, Any], name: str, *, fetch: bool = False) -> Tokenizer:
    """The tokenizer of a model: of its own config, with or without a word list, or open_clip's for a model name.

    Args:
        config: one that `build` takes, with `words` where it has a vocabulary of its own; empty for a model name.
        name: of the model.
        fetch: whether one that open_clip has not itself may be looked for on the hub.

    Raises:
        UserError: if it cannot be had, the words are no list of texts, or the text tower has fewer tokens than the
            tokenizer.
    """
    text = CLIPTextCfg(**config.get("text_cfg", {}))
    words = config.get("words")
    if words is None:
        tokenize = (
            open_clip.SimpleTokenizer(context_length=text.context_length)
            if config
            else _of_open_clip(name, fetch)
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


def _of_open_clip(name: str, fetch: bool) -> Any:
    model = open_clip.get_model_config(name)
    hub = (model or {}).get("text_cfg", {}).get("hf_tokenizer_name")
    if hub and not fetch:
        raise UserError(
            f"open_clip:{name}: its tokenizer {hub} would be downloaded, which the SPEC does not ask for; "
            "add pretrained=TAG"
        )
    try:
        return open_clip.get_tokenizer(name)
    except Exception as error:  # transformers may be missing, and fails in many ways
        said = first_line(error)
        raise UserError(
            f"open_clip:{name}: its tokenizer cannot be had: {said}; it may need the hub, and pip install "
            "transformers"
        ) from error
