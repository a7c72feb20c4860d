"""One cell of a study: checkpoint × condition × measurement, and the file it lies in."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NAME = re.compile(r".+--[0-9a-f]{12}\.nc")  # of the files of cells


@dataclass(frozen=True)
class CellKey:
    """Everything a cell's numbers depend on; two cells with equal keys hold equal numbers.

    Attributes:
        measurement: its name, for example `curvature`.
        parameters: of the measurement.
        checkpoint: digest of the network measured.
        reference: digest of the network compared with, or None.
        condition: `{"spec", "source", "n", "seed"}` of the inputs and the digests `clean` and `inputs` (FORMAT.md), or
            None where the measurement takes none.
        seed: of the measurement's own randomness.
        dtype: `float32` or `float64`.
        device: `cpu` or `cuda`.
        revision: of the measurement's code.
    """

    measurement: str
    parameters: Mapping[str, Any]
    checkpoint: str
    reference: str | None
    condition: Mapping[str, Any] | None
    seed: int
    dtype: str
    device: str
    revision: int = 1

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def file(self) -> str:
        """File name: readable first, then the start of the key's SHA-256."""
        spec = self.condition["spec"] if self.condition else ""
        readable = re.sub(r"[^A-Za-z0-9=.]+", "-", f"{self.measurement}--{spec}").strip("-")[:80]
        return f"{readable}--{hashlib.sha256(self.to_json().encode()).hexdigest()[:12]}.nc"
