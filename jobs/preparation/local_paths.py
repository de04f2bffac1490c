"""Places on the command line that are of this machine: written as a path, or as a ``file://`` URI."""

from pathlib import Path

from bitmill.schemas.errors import UsageError


def local_path(given: str | Path) -> Path:
    """Typer's parser of such a place. Raises UsageError for one on a store."""
    scheme, mark, _ = str(given).partition("://")
    if not mark or isinstance(given, Path):
        return Path(given)
    if scheme.lower() != "file":
        raise UsageError(f"{given} is on a store; name a path of this machine here, and copy from or to it.")
    from bitmill.pipeline.storage import normalise

    return Path(normalise(given))
