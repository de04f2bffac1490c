"""What a packet's own bytes tell: whether decoding may begin at it, and whether its picture is shown.

The keyframe flag of a container does not tell: in H.264 and HEVC it also marks pictures after which others
follow that depend on earlier ones.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class PacketKind(NamedTuple):
    """What a packet holds."""

    is_entry: bool
    """Its picture, and all decoded after it, depend on none before it."""
    is_shown: bool
    parameter_sets: bytes = b""
    """H.264 and HEVC: those that the packet repeats or replaces; they stay valid for later packets."""


ReadPacket = Callable[[memoryview], PacketKind]
"""Raises ValueError, or IndexError for a packet that is too short, if the bytes prove nothing."""


class _Units(NamedTuple):
    """Types of the units that a packet may hold; others prove nothing, such as those of further layers."""

    pictures: frozenset[int]
    instant: frozenset[int]
    """Pictures after which nothing depends on earlier ones: IDR."""
    parameters: frozenset[int]
    messages: frozenset[int]
    """Supplemental enhancement information (SEI)."""
    others: frozenset[int]
    """Delimiters and filler."""
    header_bytes: int


_H264 = _Units(
    pictures=frozenset({1, 5}),
    instant=frozenset({5}),
    parameters=frozenset({7, 8}),
    messages=frozenset({6}),
    others=frozenset({9, 10, 11, 12}),
    header_bytes=1,
)
_HEVC = _Units(
    pictures=frozenset(range(32)),
    instant=frozenset({19, 20}),
    parameters=frozenset({32, 33, 34}),
    messages=frozenset({39, 40}),
    others=frozenset(range(35, 39)),
    header_bytes=2,
)
_OF_ONE_PICTURE = frozenset({0, 1, 4, 5, 6, 45, 129, 130, 132, 136, 137, 144, 147})
"""SEI that changes no later picture; film grain and orientation, among others, may hold for several."""


PROVABLE_CODECS = frozenset({"h264", "hevc", "vp8", "vp9"})


def packet_reader(codec: str, extradata: bytes | None) -> ReadPacket | None:
    """Returns what reads packets of this codec as MP4 and Matroska store them, or None if nothing does."""
    if codec == "vp8":
        return _vp8
    if codec == "vp9":
        return _vp9
    # Version 1 of avcC and hvcC; other bytes are start codes.
    if not extradata or extradata[0] != 1:
        return None
    if codec == "h264" and len(extradata) > 4:
        return _h264(1 + (extradata[4] & 3))
    if codec == "hevc" and len(extradata) > 21:
        return _hevc(1 + (extradata[21] & 3))
    return None


def _h264(length_bytes: int) -> ReadPacket:
    def read(data: memoryview) -> PacketKind:
        units = list(_units(data, length_bytes))
        kinds = [unit[0] & 31 for unit in units]
        return _of_units(units, kinds, _H264)

    return read


def _hevc(length_bytes: int) -> ReadPacket:
    def read(data: memoryview) -> PacketKind:
        units = list(_units(data, length_bytes))
        if any(unit[0] & 1 or unit[1] >> 3 for unit in units):
            raise ValueError("a further layer")
        kinds = [unit[0] >> 1 & 63 for unit in units]
        return _of_units(units, kinds, _HEVC)

    return read


def _units(data: memoryview, length_bytes: int) -> Iterator[memoryview]:
    at = 0
    while at < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise ValueError("a unit that ends after its packet")
        yield data[begin:at]


def _of_units(units: list[memoryview], kinds: list[int], known: _Units) -> PacketKind:
    slices = set(kinds) & known.pictures
    if not slices or not set(kinds) <= known.pictures | known.parameters | known.messages | known.others:
        raise ValueError("no picture, or units of an unknown kind")
    for unit, kind in zip(units, kinds, strict=True):
        if kind in known.messages and not _messages(bytes(unit[known.header_bytes :])) <= _OF_ONE_PICTURE:
            raise ValueError("a message that may hold for later pictures")
    sets = b"".join(
        len(unit).to_bytes(4, "big") + bytes(unit)
        for unit, kind in zip(units, kinds, strict=True)
        if kind in known.parameters
    )
    return PacketKind(is_entry=slices <= known.instant, is_shown=True, parameter_sets=sets)


def _messages(unit: bytes) -> set[int]:
    """Returns the types of the messages of a unit of supplemental information."""
    data, at, kinds = unit.replace(b"\0\0\3", b"\0\0"), 0, set[int]()
    # The last byte ends the unit.
    while at < len(data) - 1:
        numbers: list[int] = []
        for _ in ("type", "size"):
            begin = at
            while data[at] == 0xFF:
                at += 1
            numbers.append(255 * (at - begin) + data[at])
            at += 1
        kinds.add(numbers[0])
        at += numbers[1]
    return kinds


def _vp8(data: memoryview) -> PacketKind:
    return PacketKind(is_entry=not data[0] & 1, is_shown=bool(data[0] & 16))


def _vp9(data: memoryview) -> PacketKind:
    first, last = data[0], data[-1]
    if first >> 6 != 2:
        raise ValueError("no VP9")
    # Profile 3 has one more bit before these.
    bits = first << 1 if first & 0x30 == 0x30 else first
    repeats, is_inter, is_shown = bits & 8, bits & 4, bits & 2
    is_superframe = last & 0xE0 == 0xC0
    return PacketKind(
        is_entry=not repeats and not is_inter, is_shown=bool(repeats or is_shown or is_superframe)
    )
