"""Good files to begin from: small ones of each form."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
import xarray as xr
from PIL import Image
from safetensors.torch import save

from geomlab.checkpoint import FORMAT, VERSION

SPECS = (b"open_clip:ViT-B-32,pretrained=laion", rb"domains:/a\,b,id=photo", b"torchvision:CIFAR10,root=x")
DATA = (
    b"glyphs:split=train",
    b"folder:sets/photo,skip=3,pixels=999",
    b"domains:sets,id=photo",
    b"webdataset:{0..0}.tar,label=cls,image=png;jpg",
    b"hf:tables,split=train,label=label",
)
CONDITIONS = (
    b"pgd:eps=4/255,steps=10,restarts=2",
    b"corruption:gaussian_noise,severity=5",
    b"domain:sketch",
)
RECIPES = (
    b"[optimisation]\nlr = 1e-3\nwarmup = 3\n",
    b'method = "grace"\n[lora]\nrank = 4\n',
    b"[attack]\nsteps = 10\n",
)
METADATA = {
    "format": FORMAT,
    "version": VERSION,
    "architecture": {"spec": "timm:x", "config": None},
    "classes": ["a", "b"],
    "preprocessing": {"size": 8, "mean": [0.5], "std": [0.5]},
}


def _tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(3, dtype=torch.int64)}


def _torch_files() -> tuple[bytes, ...]:
    found = []
    for content, old in ((_tensors(), False), ({"state_dict": _tensors(), "metadata": METADATA}, True)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=not old)
        found.append(buffer.getvalue())
    return tuple(found)


def _cells() -> tuple[bytes, ...]:
    one = xr.Dataset(
        {"eigenvalue": ("eigen", np.array([2.0, 1.0])), "warnings": "[]"}, attrs={"schema": 1, "key": "{}"}
    )
    return (bytes(one.to_netcdf(engine="h5netcdf")),)


def image() -> bytes:
    """A PNG of few pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (255, 0, 51)).save(buffer, "PNG")
    return buffer.getvalue()


def _shards() -> tuple[bytes, ...]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("a/0.png", image()), ("a/0.cls", b"1"), ("a/0.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return (buffer.getvalue(),)


def _tables(kind: str) -> tuple[bytes, ...]:
    import pyarrow.parquet

    table = pyarrow.table({"image": [{"bytes": image(), "path": "0.png"}] * 2, "label": [0, 1]})
    buffer = io.BytesIO()
    if kind == "parquet":
        pyarrow.parquet.write_table(table, buffer)
        return (buffer.getvalue(),)
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return (buffer.getvalue(),)


def _manifests() -> tuple[bytes, ...]:
    whole = {
        "schema": 1,
        "command": "geomlab analyze",
        "position": 0,
        "checkpoint": {"name": "a", "path": "a.pt", "sha256": "", "digest": "", "architecture": "x"},
        "reference": None,
        "settings": {"seed": 0, "data": "glyphs"},
        "versions": {"torch": "2"},
        "machine": {"cpus": 2},
        "conditions": [{"name": "clean", "spec": "clean", "kind": "clean"}],
        "measurements": [{"name": "accuracy", "parameters": {}}],
        "cells": [{"file": "a.nc", "measurement": "accuracy", "condition": "clean"}],
    }
    return (json.dumps(whole).encode(),)


_MADE: Mapping[str, Callable[[], tuple[bytes, ...]]] = {
    "spec": lambda: SPECS,
    "condition": lambda: CONDITIONS,
    "data": lambda: DATA,
    "shard": _shards,
    "arrow": lambda: _tables("arrow"),
    "parquet": lambda: _tables("parquet"),
    "torch_file": _torch_files,
    "safetensors": lambda: (save(_tensors(), {FORMAT: json.dumps(METADATA)}),),
    "cell": _cells,
    "manifest": _manifests,
    "recipe": lambda: RECIPES,
}


@cache
def of(name: str) -> tuple[bytes, ...]:
    """Those of a target."""
    return _MADE[name]()
