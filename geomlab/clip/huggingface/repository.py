"""The files of a model of transformers: a folder, or a repository of the hub that the SPEC names.

None of them is code. transformers' Auto classes, which can run Python files of a repository, are used nowhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomlab import checkpoint
from geomlab.checkpoint import Checkpoint
from geomlab.errors import UserError, first_line
from geomlab.files import is_file, is_folder, json_object
from geomlab.spec import Spec

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Of which the first that is there is read, the second with `weights_only`."""
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def fetch(repository: str, name: str) -> str:
    """Download a file of the hub, or take it from the hub's own cache: the one way there.

    Args:
        repository: ORG/REPO.
        name: of the file.

    Returns:
        Its path here.
    """
    from huggingface_hub import hf_hub_download

    return str(hf_hub_download(repository, name))


@dataclass(frozen=True)
class Repository:
    """A folder, or a repository of the hub.

    Attributes:
        spec: the SPEC, for messages.
        place: the folder, or ORG/REPO.
        here: whether it is a folder.
    """

    spec: str
    place: str
    here: bool

    @classmethod
    def of(cls, spec: Spec) -> "Repository":
        """What `transformers:FOLDER` or `transformers:ORG/REPO` names; a folder that is there comes first.

        Raises:
            UserError: if it is neither.
        """
        spec.only()
        here = is_folder(spec.positional)
        if not here and not _HUB.fullmatch(spec.positional):
            raise UserError(
                f"'{spec.text}': no such folder; write transformers:FOLDER, or transformers:ORG/REPO for one of the hub"
            )
        return cls(spec.text, spec.positional, here)

    def find(self, name: str) -> Path | None:
        """A file by name, or None where there is none of that name.

        Raises:
            UserError: if the hub cannot be asked.
        """
        if self.here:
            path = Path(self.place) / name
            return path if is_file(str(path)) else None
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(fetch(self.place, name))
        except Exception as error:  # the hub's library fails in many ways
            offline = isinstance(error, LocalEntryNotFoundError)
            if isinstance(error, EntryNotFoundError) and not offline:
                return None
            said = first_line(error)
            raise UserError(
                f"'{self.spec}': {name} cannot be had: {'the hub is out of reach' if offline else said}; give a folder "
                "that holds the files, transformers:FOLDER"
            ) from error

    def json(self, name: str) -> dict[str, Any] | None:
        """What a JSON file holds; None where there is none.

        Raises:
            UserError: if it is no JSON object.
        """
        path = self.find(name)
        if path is None:
            return None
        try:
            return json_object(path)
        except OSError as error:
            raise UserError(f"'{self.spec}': its {name} cannot be read ({first_line(error)})") from error
        except ValueError as error:
            raise UserError(f"'{self.spec}': its {name} {first_line(error)}") from error

    def weights(self) -> Checkpoint:
        """The weights, read as any file is.

        Raises:
            UserError: if there are none in one file, or they cannot be read without running code.
        """
        for name in WEIGHTS:
            path = self.find(name)
            if path is not None:
                return checkpoint.read(path)
        if any(self.find(f"{name}.index.json") for name in WEIGHTS):
            raise UserError(
                f"'{self.spec}': its weights are in several files; save them as one, "
                "model.save_pretrained(FOLDER, max_shard_size='1TB')"
            )
        raise UserError(f"'{self.spec}': holds no weights ({' or '.join(WEIGHTS)})")
