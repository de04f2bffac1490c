"""HEVC that announces a second view (MV-HEVC), as headsets record it; the second view itself is left out."""

import re
from pathlib import Path

import av

from tests.support.media import hevc_mp4

_VPS = 32
_MARK = b"\0\0\0\1"


def multiview_hevc(path: Path) -> Path:
    """The frames of ``hevc_mp4`` in a transport stream whose video parameter sets name two views."""
    plain = hevc_mp4(path.with_name("plain.ts"))
    with av.open(str(plain)) as container, av.open(str(path), "w", format="mpegts") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.size:
                units = re.split(b"\x00\x00\x00?\x01", bytes(packet))[1:]
                renewed = av.Packet(b"".join(_MARK + _renewed(unit) for unit in units))
                renewed.stream, renewed.time_base = copy, packet.time_base
                renewed.pts, renewed.dts, renewed.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
                out.mux(renewed)
    return path


def _renewed(unit: bytes) -> bytes:
    return _two_views(unit) if unit[0] >> 1 == _VPS else unit


class _Bits:
    def __init__(self, bits: str = "") -> None:
        self.bits = bits

    def take(self, count: int) -> str:
        taken, self.bits = self.bits[:count], self.bits[count:]
        return taken

    def take_golomb(self) -> str:
        zeros = len(self.bits) - len(self.bits.lstrip("0"))
        return self.take(2 * zeros + 1)

    def put(self, *fields: str) -> None:
        self.bits += "".join(fields)

    def align(self, bit: str) -> None:
        self.bits += bit * (-len(self.bits) % 8)


def _two_views(unit: bytes) -> bytes:
    """The set rewritten with the extension of ITU-T H.265 annex F; numbers in its order."""
    old = _Bits("".join(f"{byte:08b}" for byte in re.sub(b"\x00\x00\x03(?=[\x00-\x03])", b"\0\0", unit[2:])))
    new = _Bits()
    new.put(old.take(6), f"{1:06b}")  # a layer more than the base
    old.take(6)
    assert old.bits.startswith("000"), "one temporal layer"
    new.put(old.take(20))
    profile = old.take(96)
    new.put(profile, old.take(1), *(old.take_golomb() for _ in range(3)))
    new.put(f"{1:06b}", "010", "11", "0", "1")  # layer ids to 1, a second layer set of both, no timing
    new.align("1")
    new.put(profile[88:], "0", "01" + "0" * 14)  # level; scalable by view alone
    new.put("000", "0", "1", "0001", "01", "1")  # view 1 of layer 1, ids 0 and 1, rests on layer 0
    new.put("0", "0", "1", "010", "1", "00", "01", "1")  # two profiles, no further output sets
    new.put(f"{160:016b}", f"{120:016b}", "1", "01", "0000", "0000", "0", "1", "0")  # 160×120, 4:2:0, 8 bits
    new.put("0", "00101", "00101", "011", "1")  # pictures to hold
    new.put("1", "1", "10", "1", "0", "1")  # layers depend in samples and motion; the end
    new.align("0")
    body = int(new.bits, 2).to_bytes(len(new.bits) // 8, "big")
    return unit[:2] + re.sub(b"\x00\x00(?=[\x00-\x03])", b"\0\0\3", body)
