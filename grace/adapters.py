"""Adapters on disk, without the network that they were trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geomlab import checkpoint, params
from geomlab.architectures import Labels
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from grace import lora
from grace import model as models
from grace.start import read_start

KEY = "adapters"
"""Of the metadata: the base model's digest (`of`) and the updates' `scale`."""


def write(
    path: Path, factors: Mapping[str, Tensor], of: str | None, about: Mapping[str, Any], scale: float
) -> None:
    """Write adapters.

    Args:
        path: of the file.
        factors: by the names of a checkpoint, as `lora.factors` gives them; and what else was made beside the base
            model, a head for example.
        of: digest of the base model.
        about: as of the checkpoint.
        scale: what B A is multiplied by.
    """
    checkpoint.write(path, factors, {**about, KEY: {"of": of, "scale": scale}})


def merge(base: str, adapters: Path, out: Path) -> Checkpoint:
    """Merge adapters into the checkpoint they were trained on; the result is the run's own, to rounding.

    Args:
        base: a checkpoint file, `embedded:NAME` or `open_clip:NAME,pretrained=TAG`.
        adapters: a file that `write` wrote.
        out: the checkpoint to write; it must not be there yet.

    Raises:
        UserError: if a file cannot be read or is none of adapters, or they belong to another model.
    """
    if out.exists():
        raise UserError(f"{out} is there already; choose another --out")
    found = checkpoint.read(adapters)
    about = dict(found.metadata.get(KEY) or {})
    if not about:
        raise UserError(f"{adapters}: a checkpoint, but not one of adapters; give METHOD.adapters.pt")
    start, digest = _tensors_of(base, found.metadata)
    if about.get("of") != digest:
        raise UserError(
            f"{adapters}: trained on another model than {base}, whose digest is not {about.get('of')}"
        )
    factors = {name: tensor for name, tensor in found.tensors.items() if ".lora_" in name}
    rest = {name: tensor for name, tensor in found.tensors.items() if name not in factors}
    tensors = lora.merged(start, factors, float(about["scale"])) | rest
    metadata = {key: value for key, value in found.metadata.items() if key not in (KEY, "digest", "versions")}
    return checkpoint.write(out, tensors, metadata)


def _tensors_of(base: str, about: Mapping[str, Any]) -> tuple[Mapping[str, Tensor], str]:
    """The base model's tensors and their digest."""
    if not base.startswith("open_clip:"):
        found = read_start(base)
        return found.tensors, found.digest
    labels = Labels(tuple(about.get("classes", ())), tuple(about.get("templates", ())))
    tensors = models.from_open_clip(base, labels, int(about.get("seed", 0))).tensors()
    return tensors, params.digest(tensors)
