"""Small pieces around CLIPs: networks, tokenizers, the zero-shot head, and the image classifier they make."""

from open_clip.model import CLIP

from geomlab.clip import activation, forms, recognised
from geomlab.clip.classifier import ClipClassifier, checked_head, text_state, zero_shot_head
from geomlab.clip.encoding import encode_texts, ends_of, without_padding
from geomlab.clip.huggingface import TwoTowers
from geomlab.clip.kept import kept_head
from geomlab.clip.networks import brings_weights, build, config_of, create
from geomlab.clip.texts import TextTower
from geomlab.clip.tokens import Tokenizer, WordTokenizer, tokenizer

__all__ = [
    "CLIP",
    "ClipClassifier",
    "TextTower",
    "Tokenizer",
    "TwoTowers",
    "WordTokenizer",
    "activation",
    "brings_weights",
    "build",
    "checked_head",
    "config_of",
    "create",
    "encode_texts",
    "ends_of",
    "forms",
    "kept_head",
    "recognised",
    "text_state",
    "tokenizer",
    "without_padding",
    "zero_shot_head",
]
