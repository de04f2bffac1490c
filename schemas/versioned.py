"""Reads JSON files that have a ``format_version``."""

import json
from typing import Any

from bitmill.schemas.errors import FormatError


def versioned_json(data: bytes, *, name: str, newest: int) -> Any:
    """Parse a file. Raises FormatError naming it if it is not JSON, or newer than version ``newest``."""
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise FormatError(f"{name} is not JSON ({error}); copy it again from its source") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > newest:
        raise FormatError(
            f"{name} has format_version {version}, this release supports up to {newest}; upgrade bitmill"
        )
    return raw
