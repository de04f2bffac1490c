"""Videos of two or more groups of pictures in every codec, and damage done to one packet of them."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import av

from benchmarks.scheduling import scheduling_kept
from tests.support.media import real_pictures, write_video

GOP = 10
"""Frames from one keyframe to the next."""

_X264 = "keyint=10:scenecut=0"
_X265 = "log-level=none:pools=1:frame-threads=1:keyint=10:min-keyint=10:scenecut=0:bframes=3"
_VPX = {"g": "10", "deadline": "realtime", "cpu-used": "8", "b": "400k"}
_MPEG = {"g": "10", "b": "1000000"}

_CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "medium", "g": "10", "sc_threshold": "0"}),
    "h264-open-gop": ("libx264", {"preset": "medium", "x264-params": f"open-gop=1:bframes=3:{_X264}"}),
    "h264-refresh": ("libx264", {"preset": "medium", "x264-params": f"intra-refresh=1:bframes=0:{_X264}"}),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": f"open-gop=0:{_X265}"}),
    "hevc-open-gop": ("libx265", {"preset": "ultrafast", "x265-params": f"open-gop=1:{_X265}"}),
    "hevc-hashes": ("libx265", {"preset": "ultrafast", "x265-params": f"open-gop=0:hash=1:{_X265}"}),
    "vp8": ("libvpx", _VPX),
    "vp9": ("libvpx-vp9", _VPX),
    "av1": ("libsvtav1", {"preset": "12", "g": "10", "svtav1-params": "lp=1"}),
    "mpeg2": ("mpeg2video", {**_MPEG, "bf": "2"}),
    "mpeg4": ("mpeg4", _MPEG),
    "mpeg4-b": ("mpeg4", {**_MPEG, "bf": "2"}),
    "msmpeg4": ("msmpeg4", _MPEG),
    "wmv2": ("wmv2", _MPEG),
    "flv1": ("flv", _MPEG),
    "ffv1": ("ffv1", {"g": "10", "level": "3"}),
}


def keyed_video(path: Path, num_frames: int = 30) -> Path:
    """25 frames a second, 160×120, a keyframe every ``GOP`` frames; the codec is the name before the dot."""
    codec, options = _CODECS[path.stem]
    with scheduling_kept() if codec == "libsvtav1" else nullcontext():
        return write_video(path, real_pictures(num_frames, 160, 120), codec=codec, options=options)


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(offset in the file, bytes) of each video packet, for containers that keep a packet in one piece."""
    data, places = path.read_bytes(), list[tuple[int, int]]()
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                places.append((data.index(bytes(packet), packet.pos or 0), packet.size))
    return places


def zeroed(source: Path, target: Path, packet: int) -> Path:
    """A copy in which every byte of one packet is zero."""
    data, (at, size) = bytearray(source.read_bytes()), packet_places(source)[packet]
    data[at : at + size] = bytes(size)
    target.write_bytes(data)
    return target


def flipped(source: Path, target: Path, packet: int, bit: int) -> Path:
    """A copy in which one bit of one packet is flipped."""
    data, (at, _) = bytearray(source.read_bytes()), packet_places(source)[packet]
    data[at + bit // 8] ^= 1 << bit % 8
    target.write_bytes(data)
    return target


def spread_bits(size: int, num_bits: int) -> Sequence[int]:
    """``num_bits`` bits spread over ``size`` bytes, at all places within a byte."""
    return [int((index + 0.5) / num_bits * size) * 8 + index % 8 for index in range(num_bits)]


def without_packets(source: Path, target: Path, num_packets: int) -> Path:
    """A copy that begins later, in the middle of a group of pictures."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for index, packet in enumerate(container.demux(stream)):
            if index < num_packets or packet.size == 0:
                continue
            packet.dts = packet.pts if packet.dts is None else packet.dts
            packet.stream = copy
            out.mux(packet)
    return target
