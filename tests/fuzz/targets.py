"""What reads files and words of others: bytes in, and nothing out but a UserError."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from geomlab import checkpoint
from geomlab.data.condition import parse_conditions
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.information import describe
from geomlab.results import Store
from geomlab.spec import parse
from grace.recipe import compose
from tests.fuzz import seeds

GLYPHS = open_source("glyphs")


def spec(content: bytes) -> None:
    """The words of --model, --data and --path."""
    found = parse(content.decode("utf-8", errors="surrogateescape"))
    found.only(*(name for name, _ in found.options))


def condition(content: bytes) -> None:
    """The words of --condition."""
    text = content.decode("utf-8", errors="surrogateescape")
    parse_conditions([text], GLYPHS, n=10, seed=0, batch_size=5)


def data(content: bytes) -> None:
    """A data SPEC that a checkpoint records, so that none runs code or fetches anything; there is a little to find."""
    with contextlib.chdir(_folder()):
        open_source(content.decode("utf-8", errors="surrogateescape"), by_user=False)


def shard(content: bytes) -> None:
    """A shard of WebDataset's."""
    _of_file("x.tar", content, lambda path: _images(f"webdataset:{path},skip=0"))


def arrow(content: bytes) -> None:
    """A table of Arrow's."""
    _of_file("x.arrow", content, lambda path: _images(f"hf:{path.parent}"))


def parquet(content: bytes) -> None:
    """A table in Parquet."""
    _of_file("x.parquet", content, lambda path: _images(f"hf:{path.parent}"))


def torch_file(content: bytes) -> None:
    """A checkpoint of torch.save, or anything else."""
    _of_file("net.pt", content, lambda path: describe(checkpoint.read(path)))


def safetensors(content: bytes) -> None:
    """A checkpoint in safetensors."""
    _of_file("net.safetensors", content, lambda path: describe(checkpoint.read(path)))


def cell(content: bytes) -> None:
    """A cell of the store."""
    _of_file("results/cell.nc", content, lambda path: Store(path.parent.parent).read(path.name))


def manifest(content: bytes) -> None:
    """A store's `study.json`."""
    _of_file("study.json", content, lambda path: Store(path.parent).manifest())


def recipe(content: bytes) -> None:
    """A recipe of the user's own."""
    _of_file("recipe.toml", content, lambda path: compose("grace", file=path))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        *(spec, condition, data, shard, arrow, parquet),
        *(torch_file, safetensors, cell, manifest, recipe),
    )
}


def run(name: str, content: bytes) -> None:
    """Let a target read something, which it may refuse."""
    with contextlib.suppress(UserError):
        TARGETS[name](content)


def _images(spec: str) -> None:
    source = open_source(spec)
    source.images("id", np.arange(len(source.index("id").labels)), 4)


@cache
def _folder() -> Path:
    """A folder of classes, a shard and a table, for the whole run."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    image = seeds.image()
    (folder / "sets" / "photo" / "cat").mkdir(parents=True)
    (folder / "sets" / "photo" / "cat" / "0.png").write_bytes(image)
    (folder / "0.tar").write_bytes(seeds.of("shard")[0])
    (folder / "tables").mkdir()
    (folder / "tables" / "x.parquet").write_bytes(seeds.of("parquet")[0])
    return folder


def _of_file(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        read(path)
