"""Writes local files atomically: under a temporary name beside them, then renamed."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(path: Path) -> Generator[Path]:
    """Yield the temporary name; what the block writes there replaces ``path``, unless the block raises."""
    beside = path.with_name(f".{path.name}.staged")
    yield beside
    beside.replace(path)


def write_staged(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with staged(path) as beside:
        beside.write_bytes(data)
