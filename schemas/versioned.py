"""JSON files that tell their ``format_version``."""

import json
from typing import Any

from bitmill.schemas.errors import FormatError


def versioned_json(data: bytes, *, name: str, newest: int) -> Any:
    """A file's document. Raises FormatError, naming it, where it is no JSON, or newer than ``newest``."""
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise FormatError(f"{name} is not JSON ({error}); copy it anew from its origin") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > newest:
        raise FormatError(
            f"{name} has format_version {version}, this release knows up to {newest}; upgrade bitmill"
        )
    return raw
