"""`geomlab info`: what a file is, what it holds, and the command that would analyse it. Nothing in it is run."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path

from geomlab import architectures, checkpoint
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError
from geomlab.files import is_folder
from geomlab.spec import escape, parse

# A name that only weights of this kind have, and what they are; the first that fits.
_KINDS = (
    (
        r"(module\.|model\.)*image_encoder\.model\.",
        "classifier of wise-ft: an image tower of a CLIP and a head",
    ),
    (r"(model\.)*vision_model\.head\.probe$", "SigLIP of Hugging Face transformers"),
    (r"(model\.)*vision_model\.(embeddings|encoder)\.", "CLIP of Hugging Face transformers"),
    (r"(.*\.)?token_embedding\.weight$", "CLIP of open_clip or OpenAI"),
    (
        r"(.*\.)?(class_embedding|attnpool\.positional_embedding)$",
        "image tower of a CLIP, as FARE and TeCoA save it",
    ),
    (r"cls_token$|patch_embed\.", "vision transformer, perhaps of timm"),
    (r"layer1\.0\.conv1\.weight$", "ResNet, perhaps of torchvision or timm"),
)


def of(path: Path) -> str:
    """As `describe`, of a file or of a folder that transformers wrote.

    Raises:
        UserError: if it cannot be read, or the folder holds no such model.
    """
    if not is_folder(str(path)):
        return describe(checkpoint.read(path))
    from geomlab.clip import huggingface  # open_clip takes half a second

    spec = f"transformers:{escape(str(path))}"
    repository = huggingface.Repository.of(parse(spec))
    kind = (repository.json(huggingface.CONFIG) or {}).get("model_type")
    if str(kind) not in huggingface.KINDS:
        raise UserError(
            f"{path}: a folder, and no model of transformers that geomlab takes ({', '.join(huggingface.KINDS)}); "
            "give a checkpoint file"
        )
    facts = checkpoint.describe(repository.weights())
    command = "".join(filter(str.isprintable, shlex.join(["geomlab", "analyze", spec, "--data", "SPEC"])))
    return f"{'is:':<14}{kind} of Hugging Face transformers, a folder\n{facts}\n{'analyse:':<14}{command}"


def describe(read: Checkpoint) -> str:
    """Kind, facts and command, one line each.

    Args:
        read: a checkpoint.
    """
    kind, model = _kind(read)
    around = ", ".join(read.within)
    lines = {
        "is": kind,
        "within": around or None,
        "analyse": _command(read, model),
    }
    told = [f"{name + ':':<14}{value}" for name, value in lines.items() if value]
    return "\n".join([told[0], checkpoint.describe(read), *told[1:]])


def _kind(read: Checkpoint) -> tuple[str, str | None]:
    """What the weights are, and the model SPEC to give where the file does not say."""
    if read.architecture is not None:
        spec = str(read.architecture["spec"])
        return "checkpoint of geomlab", spec if architectures.runs_code(spec) else None
    if "adapters" in read.metadata:
        return "low-rank adapters of grace; make a checkpoint of them with grace merge", None
    names = list(read.tensors)
    found = next((kind for pattern, kind in _KINDS if any(re.match(pattern, name) for name in names)), None)
    if found is None:
        return "state_dict of a network that is not recognised", "MODULE:FACTORY"
    if "transformers" in found:
        return f"{found}, whose folder has the config and the tokenizer", "transformers:FOLDER"
    if "CLIP" not in found:
        return found, "timm:NAME"
    return _clip(read, found)


def _clip(read: Checkpoint, kind: str) -> tuple[str, str]:
    """As `_kind`, of a CLIP: which of open_clip's list it may be."""
    from geomlab.clip import forms, recognised  # open_clip takes half a second

    weights = forms.of_clip(read.tensors)
    found = recognised.names(weights)
    spec = f"open_clip:{found[0] if found else 'NAME'}"
    if not weights.text and weights.head is None:
        spec += ",pretrained=TAG"
    if weights.openai:
        kind = "CLIP of OpenAI, with QuickGELU"
    elif len(found) > 1:
        kind += f"; by its shapes {_listed(found)}: GELU or QuickGELU cannot be told from weights"
    elif found:
        kind += f"; by its shapes {found[0]}"
    return kind, spec


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:4]
    return " or ".join(shown) + (", …" if len(names) > len(shown) else "")


def _command(read: Checkpoint, model: str | None) -> str | None:
    """The line that analyses it; capitals are to be filled in."""
    if "adapters" in read.metadata:
        return None
    words = ["geomlab", "analyze", str(read.path)]
    words += ["--model", model] if model else []
    words += [] if read.metadata.get("data") else ["--data", "SPEC"]
    return "".join(filter(str.isprintable, shlex.join(words)))
