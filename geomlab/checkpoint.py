"""The file contract: what a checkpoint is, how it is read, written and identified (docs/checkpoint.md).

A checkpoint never runs code: it is read with `weights_only=True` or as safetensors.
"""

import hashlib
import io
import json
import pickle
import re
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor

from geomlab import files, params
from geomlab.environment import versions
from geomlab.errors import UserError

FORMAT = "geomlab.checkpoint"
VERSION = 1
DEEPEST = 8  # containers in one another; one that holds itself has no end: ours
# Where the files of the field keep their state_dict; of several the first.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "vision_encoder_state_dict")
# What DataParallel and torch.compile put before every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by name, plus JSON-able metadata that says what they are.

    Attributes:
        tensors: the state_dict.
        metadata: architecture, classes, recipe and more (docs/checkpoint.md); empty for a bare state_dict.
        path: the file it was read from, or None.
        sha256: of that file's bytes, or "" for one that was never written.
        digest: SHA-256 over names and values of the tensors, the same in either file format.
        within: what stood around the tensors in the file: keys of dicts, and prefixes of all names (with a dot).
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    sha256: str = ""
    digest: str = ""
    within: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", params.digest(self.tensors))

    @property
    def architecture(self) -> dict[str, Any] | None:
        """`{"spec": …, "config": …}`, or None for a bare state_dict."""
        return self.metadata.get("architecture")

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem if self.path else self.digest[:12]

    def __repr__(self) -> str:
        spec = (self.architecture or {}).get("spec", "bare state_dict")
        count = sum(tensor.numel() for tensor in self.tensors.values())
        return f"Checkpoint({self.name}: {spec}, {len(self.tensors)} tensors, {count:,} numbers, {self.digest[:12]})"


def write(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Checkpoint:
    """Write a checkpoint, atomically; the same input gives the same bytes.

    Args:
        path: ends in `.safetensors` for that format; anything else is written by `torch.save`.
        tensors: the state_dict.
        metadata: JSON-able. `format`, `version`, `digest` and `versions` are added.

    Raises:
        UserError: if the folder cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    digest = params.digest(tensors)
    head = {"format": FORMAT, "version": VERSION, "digest": digest, "versions": versions()}
    metadata = json.loads(json.dumps({**head, **metadata}, allow_nan=False))
    if path.suffix == ".safetensors":
        content = save_safetensors(tensors, {FORMAT: json.dumps(metadata)})
    else:
        buffer = io.BytesIO()
        torch.save({"state_dict": tensors, "metadata": metadata}, buffer)
        content = buffer.getvalue()
    try:
        files.replace(path, content)
    except OSError as error:
        raise UserError(
            f"{path}: cannot write the checkpoint ({error.strerror}); choose another folder"
        ) from error
    return Checkpoint(tensors, metadata, path, hashlib.sha256(content).hexdigest(), digest)


def read(path: Path | str) -> Checkpoint:
    """Read a checkpoint, a bare state_dict or one inside a training snapshot. Nothing in the file is run.

    Raises:
        UserError: if the file is missing, empty, truncated, not a checkpoint, damaged, or needs code to load.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read the checkpoint ({error.strerror}); check the path") from error
    if not content:
        raise UserError(f"{path}: the file is empty; write or copy the checkpoint again")
    is_safetensors = path.suffix == ".safetensors" or content[8:10] == b'{"'
    found, metadata = (_read_safetensors if is_safetensors else _read_torch)(path, content)
    tensors, within = _unwrapped(path, found, named=not metadata)
    _check_metadata(path, metadata)
    metadata = {key: value for key, value in metadata.items() if value is not None}
    _check_tensors(path, tensors)
    if metadata.get("version", VERSION) > VERSION:
        raise UserError(
            f"{path}: checkpoint version {metadata['version']} is newer than {VERSION}; update geomlab"
        )
    checkpoint = Checkpoint(tensors, metadata, path, hashlib.sha256(content).hexdigest(), within=within)
    if metadata.get("digest", checkpoint.digest) != checkpoint.digest:
        raise UserError(
            f"{path}: the tensors do not match the digest written beside them; the file is damaged"
        )
    return checkpoint


def describe(checkpoint: Checkpoint) -> str:
    """What a checkpoint holds, for people: one line a fact."""
    metadata = checkpoint.metadata
    count = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    recipe = metadata.get("recipe")
    facts = {
        "file": checkpoint.path,
        "sha256": checkpoint.sha256,
        "digest": checkpoint.digest,
        "tensors": f"{len(checkpoint.tensors)}, {count:,} numbers",
        "first": ", ".join(f"{name} {tuple(t.shape)}" for name, t in list(checkpoint.tensors.items())[:3]),
        "architecture": (checkpoint.architecture or {}).get("spec", "not said; give --model"),
        "data": metadata.get("data", "not said; give --data"),
        "classes": ", ".join(metadata.get("classes") or ()) or "not said",
        "method": metadata.get("method"),
        "step": metadata.get("step"),
        "seed": metadata.get("seed"),
        "recipe": json.dumps(recipe, sort_keys=True) if recipe else None,
        "versions": ", ".join(f"{name} {version}" for name, version in metadata.get("versions", {}).items()),
    }
    lines = [
        (f"{name}:", " ".join(str(value).split())) for name, value in facts.items() if value not in (None, "")
    ]
    return "\n".join(f"{name:<14}{''.join(filter(str.isprintable, value))}" for name, value in lines)


def _read_safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], Any]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); write or copy it again") from error
    return tensors, metadata


def _unpacks(content: bytes) -> bool:
    """Whether a zip file is larger inside than it is: torch would unpack any amount."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            script = any(one.filename.endswith("/constants.pkl") for one in members)  # refused as what it is
            return not script and any(one.compress_type != zipfile.ZIP_STORED for one in members)
    except Exception:  # no zip file, or a damaged one, of which the reader says more
        return False


def _read_torch(path: Path, content: bytes) -> tuple[Any, dict[str, Any]]:
    if _unpacks(content):
        raise UserError(
            f"{path}: its parts are compressed, which torch.save does not do; save it again with torch"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what cannot be read is said below, in one line
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, content, str(error))) from error
    except Exception as error:  # a damaged file can break the reader at any point
        raise UserError(f"{path}: {_damage(path, content)}") from error
    metadata = loaded.get("metadata", {}) if isinstance(loaded, dict) else {}
    metadata = metadata if isinstance(metadata, dict) and metadata.get("format") == FORMAT else {}
    return loaded, metadata


def _unwrapped(path: Path, loaded: Any, *, named: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors by name, without what stands around them (and before their names), and what that was."""
    found, within = loaded, list[str]()
    while isinstance(found, dict) and len(within) < DEEPEST:
        inner = next((name for name in _CONTAINERS if isinstance(found.get(name), dict)), None)
        if inner is None:
            break
        found = found[inner]
        within.append(inner)
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, not a state_dict; save model.state_dict()")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: holds no tensors by name; save model.state_dict() with torch.save")
    while named and (
        prefix := next((one for one in _WRAPPERS if all(name.startswith(one) for name in tensors)), None)
    ):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        within.append(prefix)
    return tensors, tuple(within)


# What is read elsewhere without a second look, and of which type it has to be.
_TYPES = {"version": int, "digest": str, "architecture": dict, "preprocessing": dict, "classes": list,
          "templates": list, "data": str, "versions": dict,
          "recipe": dict, "method": str, "step": int, "seed": int}  # fmt: skip


def _check_metadata(path: Path, metadata: Any) -> None:
    """Refuse metadata that another program got wrong; a key may be absent or null."""
    wrong = [] if isinstance(metadata, dict) else ["all of it"]
    if not wrong:
        wrong = [
            name
            for name, kind in _TYPES.items()
            if metadata.get(name) is not None and not isinstance(metadata[name], kind)
        ]
        texts = [*(metadata.get("classes") or ()), *(metadata.get("templates") or ())] if not wrong else []
        wrong += ["classes or templates"] if any(not isinstance(text, str) for text in texts) else []
    if not wrong and metadata.get("architecture") is not None:
        architecture = metadata["architecture"]
        wrong += [] if isinstance(architecture.get("spec"), str) else ["architecture.spec"]
        wrong += [] if isinstance(architecture.get("config"), dict | None) else ["architecture.config"]
    if not wrong:
        try:
            json.dumps(metadata.get("recipe"), sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            wrong = ["recipe"]
    if wrong:
        raise UserError(
            f"{path}: its metadata is not what docs/checkpoint.md says ({', '.join(wrong)}); write it anew, "
            "or save a bare state_dict and give --model and --data"
        )


def _check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are no plain arrays of numbers, which no network here could hold."""
    odd = [
        name
        for name, tensor in tensors.items()
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta
    ]
    if odd:
        raise UserError(
            f"{path}: {odd[0]} is no dense tensor of plain numbers, but sparse, quantized, nested or empty of data; "
            "save it as tensor.to_dense() or tensor.dequantize() gives it"
        )
    larger = [
        name
        for name, tensor in tensors.items()
        if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes()
    ]
    if larger:
        raise UserError(
            f"{path}: {larger[0]} has more numbers than the file holds of it, {tensors[larger[0]].numel():,}; save it "
            "as tensor.contiguous() gives it"
        )


_AGAIN = "; write or copy the checkpoint again"


def _damage(path: Path, content: bytes) -> str:
    """What a file is that cannot be read, and what to do."""
    if not content.startswith(b"PK"):
        return f"not a checkpoint (neither a file of torch.save nor safetensors){_AGAIN}"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except Exception:  # zipfile has no exception of its own for all that may be wrong
        return f"truncated or damaged (it begins as a torch file but cannot be read to its end){_AGAIN}"
    if "constants.pkl" in members:
        program = "import sys,torch; torch.save(torch.jit.load(sys.argv[1],'cpu').state_dict(),sys.argv[2])"
        return f"a TorchScript archive, which holds code; {_conversion(program, path)}"
    if "data.pkl" not in members:
        return f"not a checkpoint (a zip archive that torch.save did not write){_AGAIN}"
    return f"a damaged torch file (its parts cannot be read){_AGAIN}"


def _refusal(path: Path, content: bytes, message: str) -> str:
    """What `torch.load` refused: a pickle that needs code, or bytes that are no pickle at all."""
    code = re.search(r"(?:GLOBAL|class|function|Unsupported global:)\s+`?([A-Za-z_][\w.]*\.\w+)", message)
    if code is None:
        return f"{path}: {_damage(path, content)}"
    program = (
        "import sys,torch; m=torch.load(sys.argv[1],'cpu',weights_only=False); "
        "m=next((m[k] for k in ('state_dict','model','net') if k in m),m) if isinstance(m,dict) else m; "
        "torch.save(getattr(m,'state_dict',lambda:m)(),sys.argv[2])"
    )
    return (
        f"{path}: loading it would run code ({code.group(1)}), which geomlab never does; "
        f"{_conversion(program, path)}"
    )


def _conversion(program: str, path: Path) -> str:
    """The one line that makes a state_dict of a file with code."""
    return f'if you trust it, convert it once: python -c "{program}" {shlex.quote(str(path))} converted.pt'
