"""Writes local files atomically: under a temporary name beside them, then renamed."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(path: Path) -> Generator[Path]:
    """Yield the temporary name; what the block writes there replaces ``path``, unless the block raises."""
    beside = path.with_name(f".{path.name}.staged")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        # Also on a full disk, where it takes up what is left.
        beside.unlink(missing_ok=True)
        raise


def write_staged(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with staged(path) as beside:
        beside.write_bytes(data)
