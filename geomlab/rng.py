"""Randomness comes from a generator that is passed in; global state is never read or written."""

import hashlib

import torch


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for one named purpose, independent of every other name under the same `seed`."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one named purpose.

    Random tensors are drawn on the CPU and then moved, so that every device sees the same numbers.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *names))
