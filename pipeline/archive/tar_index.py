"""Indexes the members of a local tar from its headers alone; reads no member's bytes."""

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

_BLOCK_BYTES = 512
_SCAN_BYTES = 1 << 20
_CUT_OFF = frozenset({"unexpected end of data", "truncated header", "empty header", "empty file"})
"""tarfile's messages for a header or data cut off by the end of the file."""
_BAD_HEADER = (tarfile.TarError, ValueError, OverflowError, RecursionError)

Failing = tuple[Reason, str]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A named file in a tar, and the location of its bytes."""

    name: str
    r"""As in the tar; bytes that are not UTF-8 are written as ``\xff``."""
    offset: int
    """Offset of its first byte in the tar."""
    size_bytes: int
    """According to its header."""
    present_bytes: int
    """Less than ``size_bytes`` if the tar ends within the member."""
    fault: Failing | None = None
    """Why its bytes cannot be read, if that is known in advance."""

    @property
    def is_cut(self) -> bool:
        """True if the tar ends within it."""
        return self.present_bytes < self.size_bytes


@dataclass(frozen=True, kw_only=True)
class TarIndex:
    """All files of a tar, in order."""

    members: tuple[Member, ...]
    fault: Failing | None
    """Why the rest of the tar after ``members`` is missing; None if the tar ends correctly."""


def index_tar(path: str) -> TarIndex:
    """Read every header; damage is reported as the index's fault.

    Raises BadItemError: EMPTY_FILE, or NOT_MEDIA for a compressed tar.
    """
    with Path(path).open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(0)
        _refuse_others(file.read(6), size_bytes)
        file.seek(0)
        headers: list[tarfile.TarInfo] = []
        fault = _walk(file, size_bytes, headers)
    return TarIndex(members=tuple(_members(headers, size_bytes)), fault=fault)


def _refuse_others(head: bytes, size_bytes: int) -> None:
    if not size_bytes:
        raise BadItemError(Reason.EMPTY_FILE, "The tar is empty.")
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise BadItemError(Reason.NOT_MEDIA, "Compressed tars are not supported; decompress it.")


def _walk(file: BinaryIO, size_bytes: int, headers: list[tarfile.TarInfo]) -> Failing | None:
    """Append headers up to the tar's end, or up to the first damage, which is returned."""
    reached = -1
    try:
        tar = tarfile.TarFile(fileobj=file, encoding="utf-8", errors="surrogateescape")
        while True:
            header = tar.next()
            if header is None:
                return _ending(file, tar.offset)
            # A negative size would send tarfile back to an earlier offset in an endless loop.
            if header.size < 0 or header.offset_data <= reached:
                return _damaged(header.offset)
            reached = header.offset_data
            headers.append(header)
            if header.isreg() and header.offset_data + header.size > size_bytes:
                return _cut_off()
    except _BAD_HEADER as error:
        return _cut_off() if str(error) in _CUT_OFF else _damaged(max(reached, 0))


def _ending(file: BinaryIO, offset: int) -> Failing | None:
    """Check that a tar without further headers ends correctly: a zero block and nothing else."""
    file.seek(offset)
    block = file.read(_BLOCK_BYTES)
    if len(block) < _BLOCK_BYTES:
        return _cut_off()
    if any(block):
        return _damaged(offset)
    while chunk := file.read(_SCAN_BYTES):
        if chunk.count(0) != len(chunk):
            return Reason.CORRUPT, "Data after the tar's end mark was not read; repack it as one tar."
    return None


def _cut_off() -> Failing:
    return (
        Reason.TRUNCATED,
        "The tar is truncated: it has no end mark, and later members may be missing.",
    )


def _damaged(offset: int) -> Failing:
    return (
        Reason.CORRUPT,
        f"A header of the tar near byte {offset} is damaged; later members are missing.",
    )


def _members(headers: list[tarfile.TarInfo], size_bytes: int) -> Iterator[Member]:
    files = {header.name: header for header in reversed(headers) if header.isreg()}
    for header in headers:
        if header.isreg():
            yield _member(header, header, size_bytes)
        elif header.islnk() or header.issym():
            base = "" if header.islnk() else posixpath.dirname(header.name)
            target = header.linkname if header.islnk() else posixpath.join(base, header.linkname)
            yield _member(header, files.get(target) or files.get(posixpath.normpath(target)), size_bytes)


def _member(header: tarfile.TarInfo, stored: tarfile.TarInfo | None, size_bytes: int) -> Member:
    fault: Failing | None = None
    if stored is None:
        fault = Reason.NOT_FOUND, "The member is a link whose target is not in the tar."
    elif stored.issparse():
        fault = Reason.NOT_MEDIA, "The member is a sparse file; repack it as a plain one."
    if stored is None or fault is not None:
        return Member(name=_text(header.name), offset=0, size_bytes=0, present_bytes=0, fault=fault)
    return Member(
        name=_text(header.name),
        offset=stored.offset_data,
        size_bytes=stored.size,
        present_bytes=min(stored.size, max(0, size_bytes - stored.offset_data)),
    )


def _text(name: str) -> str:
    """A name that every table can store."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
