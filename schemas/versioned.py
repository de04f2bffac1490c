"""Checks the ``format_version`` of files."""

import json
from typing import Any

from pydantic import BaseModel

from bitmill.schemas.errors import FormatError


def versioned_json(data: bytes, *, name: str, newest: int) -> Any:
    """Parse a file. Raises FormatError naming it if it is not JSON, or newer than version ``newest``."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is not JSON ({error}); copy it again from its source") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > newest:
        raise FormatError(
            f"{name} has format_version {version}, this release supports up to {newest}; upgrade bitmill"
        )
    return raw


class _VersionOnly(BaseModel):
    format_version: int


def stored_version(data: bytes) -> int:
    """Return the version of a JSON file, whatever else is in it. Raises pydantic.ValidationError."""
    return _VersionOnly.model_validate_json(data).format_version


def refuse_newer(version: int, newest: int, *, what: str) -> None:
    """Raise FormatError if a file is newer than this release; ``what`` is the message before its version."""
    if version > newest:
        raise FormatError(f"{what} {version}; this bitmill reads up to {newest}. Upgrade bitmill.")
