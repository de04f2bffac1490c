"""Compares the fields a folder was made from with those of the current command."""

from collections.abc import Mapping
from typing import Any


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Returns a phrase per differing field, sorted by name; a missing field counts as None."""
    return [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
