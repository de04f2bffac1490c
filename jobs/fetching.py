"""``bitmill weights fetch``: published networks into the user's cache."""

import os
from pathlib import Path


def networks_folder() -> Path:
    """Where fetched networks are kept: BITMILL_NETWORKS, or bitmill/networks in the user's cache."""
    given = os.environ.get("BITMILL_NETWORKS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "bitmill" / "networks"
