"""Tars as users make them: by WebDataset's own writer, by tarfile member by member, cut and damaged."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import webdataset as wds

BLOCK = 512


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], *, kind: int = tarfile.GNU_FORMAT) -> Path:
    """A plain tar with these members in this order, names repeated where they are."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def write_samples(path: Path, samples: Sequence[Mapping[str, Any]]) -> Path:
    """Samples with ``__key__`` and fields by suffix, written by ``webdataset.TarWriter``."""
    with wds.TarWriter(str(path), mtime=0.0) as writer:
        for sample in samples:
            writer.write(dict(sample))
    return path


def member_offset(path: Path, name: str) -> int:
    """Where a member's first byte lies in a tar."""
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset_data


def cut(path: Path, size_bytes: int) -> Path:
    """Keep only the first bytes."""
    path.write_bytes(path.read_bytes()[:size_bytes])
    return path


def overwrite(path: Path, offset: int, data: bytes) -> Path:
    """Put other bytes at a place."""
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)
    return path
