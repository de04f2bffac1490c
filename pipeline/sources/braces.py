"""Brace expansion of source paths, as shells and WebDataset do it: ``shard-{000..012}.tar``."""

import re
from itertools import islice

from braceexpand import braceexpand

from bitmill.schemas.errors import BadJobError

MAX_NAMES = 1_000_000
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


def expand_braces(path: str) -> list[str]:
    """Every name that a path with braces stands for, in order; the path itself where it has none.

    Raises BadJobError for more than MAX_NAMES of them. Braces without a partner are meant literally.
    """
    if "{" not in path:
        return [path]
    too_many = BadJobError(f"The braces of {path} make more than {MAX_NAMES:,} names; write a smaller range.")
    if any(abs(int(last) - int(first)) >= MAX_NAMES for first, last in _RANGE.findall(path)):
        raise too_many
    try:
        names = list(islice(braceexpand(path, escape=False), MAX_NAMES + 1))
    except ValueError:
        return [path]
    if len(names) > MAX_NAMES:
        raise too_many
    return names
