"""Parses command-line arguments that must be local: a path or a ``file://`` URI."""

from pathlib import Path

from bitmill.schemas.errors import UsageError


def local_path(given: str | Path) -> Path:
    """Typer parser of a local path. Raises UsageError for a URI of a remote store."""
    scheme, mark, _ = str(given).partition("://")
    if not mark or isinstance(given, Path):
        return Path(given)
    if scheme.lower() != "file":
        raise UsageError(
            f"{given} is on a remote store; give a local path here, and copy the file from or to it."
        )
    from bitmill.pipeline.storage import normalise

    return Path(normalise(given))
