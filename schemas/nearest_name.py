"""Suggests a known name for one that is none."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name; nothing if none is near."""
    found = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
