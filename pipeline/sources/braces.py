"""Brace expansion of source paths, as in shells and WebDataset: ``shard-{000..012}.tar``."""

import re
from itertools import islice

from braceexpand import braceexpand

from bitmill.schemas.errors import BadJobError

MAX_NAMES = 1_000_000
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


def expand_braces(path: str) -> list[str]:
    """Returns a path's brace expansions, in order; the path itself if it has no braces.

    Raises BadJobError for more than MAX_NAMES of them. Unmatched braces are literal.
    """
    if "{" not in path:
        return [path]
    too_many = BadJobError(
        f"The braces of {path} expand to more than {MAX_NAMES:,} names; use a smaller range."
    )
    if any(abs(int(last) - int(first)) >= MAX_NAMES for first, last in _RANGE.findall(path)):
        raise too_many
    try:
        names = list(islice(braceexpand(path, escape=False), MAX_NAMES + 1))
    except ValueError:
        return [path]
    if len(names) > MAX_NAMES:
        raise too_many
    return names
