"""What is done with the long vectors of a large network, and what texts cost, beside the plain ways: CPU seconds.

python benchmarks/sums.py [--dim 20000000] [--repeats 7] [--threads 1] [--out benchmarks/results/sums.json]

Inner products of single precision beside those of entries turned into double, in blocks that stay in the cache and one
product; and the embeddings of class prompts by ViT-B/32's text tower beside those of their full context.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import open_clip
import torch
from side_by_side.meter import medians
from side_by_side.report import Report
from torch import Tensor

from geomlab import clip
from geomlab.linalg import rows
from geomlab.rng import generator

BLOCK = 1 << 16  # rows turned into double at a time: of 2^12 to 2^18 the fastest


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--dim", type=int, default=20_000_000)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/sums.json"))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    command = shlex.join(["python", "benchmarks/sums.py", *sys.argv[1:]])
    facts = {"command": command, "dim": args.dim, "threads": args.threads, "seconds": "cpu"}
    report = Report(args.out, facts, [])
    columns = torch.randn(7, args.dim, generator=generator(0, "columns")).div_(args.dim**0.5).T
    for name, a, b in (
        ("6 × 1", columns[:, :6], columns[:, 6:]),
        ("6 × 6", columns[:, :6], columns[:, 1:]),
        ("1 × 1", columns[:, :1], columns[:, :1]),
    ):
        report.add(("inner products", name), lambda a=a, b=b: inner(a, b, args.repeats))
    report.add(("texts", "ViT-B/32"), lambda: texts(args.repeats))


def inner(a: Tensor, b: Tensor, repeats: int) -> dict[str, Any]:
    """Of columns with columns, and the largest difference in products of the norms, which are 1."""
    exact = doubled(a, b)
    seconds = medians({"runs": lambda: rows.inner(a, b), "double": lambda: doubled(a, b)}, repeats)
    return {"seconds": seconds, "off": float((rows.inner(a, b) - exact).abs().max())}


def doubled(a: Tensor, b: Tensor) -> Tensor:
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64)
    for x, y in zip(a.split(BLOCK), b.split(BLOCK), strict=True):
        total += x.double().T @ y.double()
    return total


@torch.no_grad()
def texts(repeats: int) -> dict[str, Any]:
    """64 class prompts of ImageNet, at random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32").eval()
    tokens = open_clip.get_tokenizer("ViT-B-32")(
        [f"a photo of a {name}." for name in open_clip.IMAGENET_CLASSNAMES[:64]]
    )
    short = clip.without_padding(model, tokens)
    whole, found = model.encode_text(tokens), clip.encode_texts(model, short)
    seconds = medians(
        {
            "without padding": lambda: clip.encode_texts(model, short),
            "all": lambda: model.encode_text(tokens),
        },
        repeats,
    )
    off = float((found - whole).abs().max() / whole.abs().max())
    return {"tokens": short.shape[1], "of": tokens.shape[1], "seconds": seconds, "off": off}


if __name__ == "__main__":
    main()
