"""What `study.json` holds (FORMAT.md); other keys may stand beside these."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Identity(_Part):
    name: str
    path: str
    sha256: str
    digest: str
    architecture: str


class _Condition(_Part):
    name: str
    spec: str
    kind: str


class _Measurement(_Part):
    name: str
    parameters: dict[str, Any]


class _Cell(_Part):
    file: str = Field(pattern=r"^[^/\\]+\.nc$")
    measurement: str
    condition: str | None


class _Manifest(_Part):
    format: int = Field(alias="schema")
    command: str
    position: int = 0
    checkpoint: _Identity
    reference: _Identity | None
    settings: dict[str, Any]
    versions: dict[str, str]
    earlier_versions: list[dict[str, str]] = []
    machine: dict[str, Any]
    conditions: list[_Condition]
    measurements: list[_Measurement]
    cells: list[_Cell]


def problem(content: Any) -> str | None:
    """What is wrong with a manifest, in a few words; None if it can be used."""
    try:
        _Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}"
    return None
