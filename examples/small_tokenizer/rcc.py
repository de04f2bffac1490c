"""Reading Qt resource files (``.rcc``), in which some Debian packages keep their pictures.

The format (Qt's rcc.cpp): a header "qres", four big-endian uint32 (version, offsets of the tree, the data and
the names), then the tree of nodes. A folder's node names its first child and their number; a file's the
place of its data, which is a length and bytes, plain or compressed by zlib behind an expected length.
"""

import struct
import zlib
from collections.abc import Iterator

_MAGIC = b"qres"
_COMPRESSED, _FOLDER, _ZSTD = 1, 2, 4
_MOST_BYTES = 1 << 28


class RccError(ValueError):
    """The bytes are no whole resource file."""


def read_files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each file, in the tree's order. Raises RccError."""
    try:
        if data[:4] != _MAGIC:
            raise RccError("no Qt resource file: it does not begin with 'qres'")
        version, tree, contents, names = struct.unpack_from(">4I", data, 4)
        # Nodes of version 1 end before the time of the last change.
        yield from _below(data, 0, "", (tree, 22 if version >= 2 else 14, contents, names), set())
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise RccError(f"a damaged Qt resource file: {error}") from error


def _below(
    data: bytes, node: int, folder: str, layout: tuple[int, int, int, int], seen: set[int]
) -> Iterator[tuple[str, bytes]]:
    if node in seen:
        raise RccError("a damaged Qt resource file: its tree has a loop")
    seen.add(node)
    tree, node_bytes, contents, names = layout
    place = tree + node * node_bytes
    name_offset, flags = struct.unpack_from(">IH", data, place)
    path = f"{folder}/{_name(data, names + name_offset)}" if node else folder
    if flags & _FOLDER:
        count, first = struct.unpack_from(">II", data, place + 6)
        for child in range(first, first + count):
            yield from _below(data, child, path, layout, seen)
    else:
        (offset,) = struct.unpack_from(">I", data, place + 10)
        yield path.lstrip("/"), _content(data, contents + offset, flags)


def _name(data: bytes, place: int) -> str:
    (length,) = struct.unpack_from(">H", data, place)
    # Two bytes of length, four of a hash, then UTF-16.
    text = data[place + 6 : place + 6 + 2 * length].decode("utf-16-be")
    if len(text) != length or text in {"", ".", ".."} or "/" in text:
        raise RccError(f"a damaged Qt resource file: {text!r} is no name")
    return text


def _content(data: bytes, place: int, flags: int) -> bytes:
    (length,) = struct.unpack_from(">I", data, place)
    raw = data[place + 4 : place + 4 + length]
    if len(raw) != length:
        raise RccError("a damaged Qt resource file: it ends inside a file")
    if flags & _ZSTD:
        raise RccError("a resource compressed by zstd, which is not read here")
    if not flags & _COMPRESSED:
        return raw
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(raw[4:], _MOST_BYTES)
    if not unpacker.eof:
        raise RccError("a damaged Qt resource file: compressed data do not end, or are too large")
    return content
