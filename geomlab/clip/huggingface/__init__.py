"""CLIP and SigLIP of Hugging Face transformers, from a folder or the hub; transformers itself is imported by need."""

from geomlab.clip.huggingface.networks import KINDS, create, fill, of_transformers
from geomlab.clip.huggingface.repository import CONFIG, Repository
from geomlab.clip.huggingface.tokens import tokenizer
from geomlab.clip.huggingface.towers import TwoTowers

__all__ = ["CONFIG", "KINDS", "Repository", "TwoTowers", "create", "fill", "of_transformers", "tokenizer"]
