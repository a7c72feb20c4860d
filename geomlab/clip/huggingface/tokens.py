"""The tokenizer beside a model of transformers: the table in its tokenizer.json, as data."""

import string
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from geomlab.clip.huggingface.repository import Repository
from geomlab.errors import UserError
from geomlab.typing import Int

FILE, ABOUT = "tokenizer.json", "tokenizer_config.json"
# Those of `transformers.CLIPTokenizer` and of tables of any kind. A SiglipTokenizer also strips punctuation, in Python.
_TABLES = ("CLIPTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
_SIGLIP = "SiglipTokenizer"
_DEFAULT = {"clip": _TABLES[0], "siglip": _SIGLIP}
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class FolderTokenizer:
    """Texts -> token numbers, each row of full length.

    Args:
        encode: text -> its tokens, cut and padded.
        vocabulary: tokens the text tower has.
        end: the token it pools at, or None where that does not matter.
        spec: the SPEC, for messages.
    """

    def __init__(
        self, encode: Callable[[str], Sequence[int]], vocabulary: int, end: int | None, spec: str
    ) -> None:
        self._encode, self._vocabulary, self._end, self._spec = encode, vocabulary, end, spec

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "n context"]:
        """Tokenise texts.

        Raises:
            UserError: if the text tower has no such tokens, or would not find the end of a text.
        """
        rows = torch.tensor([self._encode(text) for text in texts], dtype=torch.long)
        if int(rows.max()) >= self._vocabulary:
            raise UserError(
                f"'{self._spec}': its tokenizer gives token {int(rows.max())}, its text tower has {self._vocabulary}; "
                "they are not of one model"
            )
        if self._end is not None and not bool((rows == self._end).any(1).all()):
            raise UserError(
                f"'{self._spec}': its tokenizer ends no text with token {self._end}, where its config says that the "
                "text tower looks; they are not of one model"
            )
        return rows


def tokenizer(repository: Repository, config: Any, end: int | None) -> FolderTokenizer:
    """The tokenizer of a folder or a repository.

    Every text is padded to the length that the tokenizer states, or else the text tower has, as SigLIP was trained; to
    CLIP the padding is no matter.

    Args:
        repository: of the model.
        config: of the model, transformers' own.
        end: the token the text tower pools at, or None where that does not matter.

    Raises:
        UserError: if there is none, it is of a kind whose texts are prepared in a way that is not known, or it does not
            say what pads.
    """
    about = {**(repository.json("special_tokens_map.json") or {}), **(repository.json(ABOUT) or {})}
    kind = str(about.get("tokenizer_class") or _DEFAULT[config.model_type]).removesuffix("Fast")
    if kind not in (*_TABLES, _SIGLIP):
        raise UserError(
            f"'{repository.spec}': its tokenizer is a {kind}; geomlab takes {', '.join((*_TABLES, _SIGLIP))}, and not "
            "that of SigLIP 2"
        )
    backend = _backend(repository)
    length = _length(about, config.text_config.max_position_embeddings)
    token = about.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = backend.token_to_id(token) if isinstance(token, str) else None
    if number is None:
        raise UserError(f"'{repository.spec}': its {ABOUT} names no pad_token of its {FILE} ({token})")
    backend.enable_truncation(length)
    backend.enable_padding(length=length, pad_id=number, pad_token=token)
    lower = bool(about.get("do_lower_case", True))

    def encode(text: str) -> Sequence[int]:
        try:
            found: Sequence[int] = backend.encode(_canonical(text, lower) if kind == _SIGLIP else text).ids
        except Exception as error:  # it raises no exception of its own
            raise UserError(f"'{repository.spec}': its {FILE} cannot encode '{text}' ({error})") from error
        return found

    return FolderTokenizer(encode, config.text_config.vocab_size, end, repository.spec)


def _backend(repository: Repository) -> Any:
    from tokenizers import Tokenizer  # comes with transformers

    path = repository.find(FILE)
    if path is None:
        raise UserError(
            f"'{repository.spec}': holds no {FILE}; write one, "
            "transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # it raises no exception of its own
        raise UserError(f"'{repository.spec}': its {FILE} cannot be read ({error})") from error


def _length(about: dict[str, Any], most: int) -> int:
    stated = about.get("model_max_length")
    return min(stated, most) if isinstance(stated, int) and stated > 0 else most


def _canonical(text: str, lower: bool) -> str:
    """As SigLIP's texts are before they are tokenised: lower case, no punctuation, single spaces."""
    return " ".join((text.lower() if lower else text).translate(_WITHOUT_PUNCTUATION).split())
