"""Compares the fields a folder was made from with those of the current command."""

from collections.abc import Mapping
from typing import Any


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Returns a phrase per differing field, sorted by name; a missing field counts as None: not set."""
    return [
        f"{name} is {_told(there.get(name))} there and {_told(here.get(name))} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


def _told(value: Any) -> str:
    return "not set" if value is None else repr(value)
