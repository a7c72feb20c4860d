"""Folders as transformers' `save_pretrained` writes them: a tiny CLIP and a tiny SigLIP, each with its tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

transformers.utils.logging.disable_progress_bar()
CONTEXT, SIDE = 12, 16
_VISION = {"hidden_size": 16, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}
_TEXT = {"hidden_size": 12, "num_attention_heads": 3, "max_position_embeddings": CONTEXT, "vocab_size": 64}
_BOTH = {
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 1,
}
_WORDS = ("a", "photo", "of", "drawing", "the", "cat", "dog", "fish", "ring", "cross")


def config(kind: str, **text: Any) -> Any:
    """Of a model of a type: the text tower is narrower than the image tower."""
    image = {**_VISION, **_BOTH}
    words = {**_TEXT, **_BOTH, **text}
    if kind == "clip":
        return transformers.CLIPConfig(text_config=words, vision_config=image, projection_dim=8)
    words = {"projection_size": 16, **words}
    return transformers.SiglipConfig(text_config=words, vision_config=image)


def model(kind: str, seed: int = 0, **text: Any) -> Any:
    """Randomly initialised, biases, norms, the scale and SigLIP's bias included."""
    made = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = made._from_config(config(kind, **text), attn_implementation="sdpa")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def of_clip() -> Any:
    """Byte pairs of whole words, as OpenAI's: its own class, whose padding is the end."""
    vocabulary: dict[str, int] = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        for part in parts:
            vocabulary.setdefault(part, len(vocabulary))
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            vocabulary.setdefault(parts[0], len(vocabulary))
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)


def of_siglip() -> Any:
    """Whole words, and an end, which pads too, as in SigLIP's."""
    table = Tokenizer(
        models.WordLevel({"<unk>": 0, "</s>": 1, **{w: i + 2 for i, w in enumerate(_WORDS)}}, "<unk>")
    )
    table.normalizer = normalizers.Lowercase()
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=table,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="</s>",
        model_max_length=CONTEXT,
    )


TOKENIZERS = {"clip": of_clip, "siglip": of_siglip}


def processor(kind: str) -> Any:
    """What prepares images of a model of a type."""
    if kind == "clip":
        size = {"height": SIDE, "width": SIDE}
        return transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    return transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})


def save(where: Path, kind: str, network: Any | None = None) -> Path:
    """A folder as those on the hub are; without a network it holds no weights."""
    (network or config(kind)).save_pretrained(where)
    processor(kind).save_pretrained(where)
    TOKENIZERS[kind]().save_pretrained(where)
    if kind == "siglip":  # whose own class takes sentencepiece to write
        change(where / "tokenizer_config.json", tokenizer_class="SiglipTokenizer")
    return where


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes one away."""
    found = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def pictures(where: Path, classes: Sequence[str]) -> Path:
    """A folder of image files of noise, of another brightness in each class."""
    noise = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (where / name).mkdir(parents=True)
        for index in range(4):
            pixels = noise.integers(60 * number, 60 * number + 100, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(where / name / f"{index}.png")
    return where
