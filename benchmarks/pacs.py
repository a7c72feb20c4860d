"""The methods on real photographs, paintings, cartoons and sketches: PACS at 32 px, a small CLIP pretrained on it.

python benchmarks/pacs.py [--methods ft,grace] [--seeds 3] [--samples 200] [--workers 2] [--set KEY=VALUE] [--out DIR]

The images are those of `pacs64.tar` in $GEOMLAB_SHARED or ../shared/data. A CLIP (grace/recipes/data/domains.toml) is
pretrained on the captions of the training part of all four domains, which gives the zero-shot checkpoint; every method
then trains on the training photographs alone, and is judged on held-back images: ID on photographs, OOD on the three
other domains, Adv on photographs at 4/255. A fifth of each domain is held back, by file name. The steps and the attack
are SETTINGS and ATTACK, for all methods alike; rates and strengths are the recipes' own, one rate for all that train
the tower and one for all adapters: nothing is tuned on these images. VPT-PMG-AFT is not among METHODS: prompt tokens
need a ViT, and this tower is a ResNet. A run that was stopped goes on. It writes benchmarks/results/pacs.json: this
command, the rows of bench.json, and what the zero-shot checkpoint is.
"""

import argparse
import json
import os
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path

from geomlab import checkpoint, files
from geomlab.environment import machine, versions
from geomlab.spec import escape
from grace import cli, methods
from grace.bench import variants

METHODS = (
    "zero-shot,ft,lp-ft,wise-ft,flyp,tpgm,spd,sam,asam,lora-ft,lora-spd,"
    "tecoa,fare,pmg-aft,laat,awp,lora-tecoa,lora-at,grace"
)
SETTINGS = ("optimisation.max_steps=200", "data.validation=0.1")
ATTACK = ("attack.steps=5", "attack.ramp=0.5")


def images(out: Path) -> Path:
    """The folder of the domains, unpacked once."""
    root = out / "pacs64"
    if not root.exists():
        archive = Path(os.environ.get("GEOMLAB_SHARED", "../shared")) / "data" / "pacs64.tar"
        if not archive.exists():
            raise SystemExit(
                f"pacs: no {archive}; set GEOMLAB_SHARED to the folder that holds data/pacs64.tar"
            )
        with tarfile.open(archive) as opened:
            # As an argument only from Python 3.11.4 on.
            opened.extraction_filter = getattr(tarfile, "data_filter", None)
            opened.extractall(out / "unpacking")
        (out / "unpacking" / "pacs64").replace(root)
    return root


def run(*arguments: str) -> None:
    """A command of `grace`; what stops it stops this."""
    status = cli.main(list(arguments))
    if status:
        raise SystemExit(status)


def repeated(flag: str, texts: Sequence[str]) -> list[str]:
    """The flag before each text."""
    return [part for text in texts for part in (flag, text)]


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--methods", default=METHODS)
    options.add_argument("--seeds", default="3")
    options.add_argument("--samples", default="200")
    options.add_argument("--workers", default="2")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all methods")
    options.add_argument("--pretrain", action="append", default=[], metavar="KEY=VALUE", help="for the CLIP")
    options.add_argument("--out", type=Path, default=Path("build/pacs"))
    options.add_argument("--results", type=Path, default=Path("benchmarks/results/pacs.json"))
    args = options.parse_args(arguments)
    data = f"domains:{escape(str(images(args.out)))},id=photo"
    train, test = f"{data},split=train", f"data.test={data},split=test"
    start = args.out / "clip" / "clip.pt"
    pretraining = repeated("--set", (test, *args.pretrain))
    run("train", "clip", "--data", train, "--out", str(start.parent), "--resume", *pretraining)
    attacks = any("attack" in methods.get(variant.method).uses for variant in variants.parse([args.methods]))
    settings = [*SETTINGS, *(ATTACK if attacks else ()), *args.set]
    size = ("--methods", args.methods, "--seeds", args.seeds, "--samples", args.samples)
    bench = args.out / "bench"
    where = ("--data", train, "--from", str(start), "--out", str(bench), "--workers", args.workers)
    run("bench", *size, *where, *repeated("--set", (test, *settings)))
    read = checkpoint.read(start)
    own = (*repeated("--set", args.set), *repeated("--pretrain", args.pretrain))
    content = {
        "schema": 1,
        "machine": machine(),
        "versions": versions(),
        "command": shlex.join(["python", "benchmarks/pacs.py", *size, *own]),
        "settings": settings,
        "start": {"digest": read.digest, "optimisation": read.metadata["recipe"]["optimisation"]},
        "rows": json.loads((bench / "bench.json").read_text(encoding="utf-8")),
    }
    files.replace(args.results, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    main()
