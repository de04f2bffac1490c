"""An index of a video's packets, read without decoding, if they prove that decoding may begin in mid-file."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from bitmill.pipeline.decode.sampling.timeline import SECOND_NS
from bitmill.pipeline.decode.video.probe import VideoFacts
from bitmill.pipeline.decode.video.seeking.bitstream import PROVABLE_CODECS, packet_reader

Int64s = npt.NDArray[np.int64]

_Row = tuple[int, int, int, int, bool, bool]
"""pts, dts, size, duration, whether the packet is shown, whether it is an entry."""

_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True, kw_only=True)
class PacketIndex:
    """A video's packets in decoding order (P of them), and its pictures in presentation order (N)."""

    pts_P: Int64s
    dts_P: Int64s
    """Ticks; in Matroska often the same for several."""
    size_P: Int64s
    pts_N: Int64s
    pts_ns_N: Int64s
    duration_ns_N: Int64s
    """0 if the container does not specify it."""
    entry_E: Int64s
    """Packets at which decoding may begin: all before are shown before, all after them after."""
    entry_rank_E: Int64s
    """The place of each one's picture in presentation order."""

    def entry_of(self, rank: int) -> int:
        """Returns the number of the last entry whose picture is shown at or before that of ``rank``."""
        return int(np.searchsorted(self.entry_rank_E, rank, side="right")) - 1

    def num_decoded(self, ranks: list[int]) -> int:
        """Returns about how many pictures must be decoded for those of ``ranks``, which increase."""
        last_of = {self.entry_of(rank): rank for rank in ranks}
        return sum(rank - int(self.entry_rank_E[entry]) + 1 for entry, rank in last_of.items())


def may_prove(facts: VideoFacts) -> bool:
    """Returns whether the packets of such a file may prove enough: to ask before they are read again."""
    return (
        facts.container in _CONTAINERS
        and facts.codec in PROVABLE_CODECS
        and not (facts.interlaced or facts.truncated or facts.cut_short)
        and not (facts.num_discard or facts.num_missing_pts or facts.num_behind)
        and facts.declared_frames in (0, facts.num_packets)
    )


def index_packets(container: InputContainer, stream: VideoStream, facts: VideoFacts) -> PacketIndex | None:
    """Reads all packets of an open file that ``may_prove`` enough; returns None if they do not.

    Proven is: a picture for each shown packet, at its time, no two at one; none hidden by an edit, none
    damaged as far as the container tells; the first is an entry; parameter sets are the same throughout.
    """
    read = packet_reader(facts.codec, stream.codec_context.extradata)
    if read is None:
        return None
    rows: list[_Row] = []
    sets: set[bytes] = set()
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_corrupt or packet.has_sidedata("new_extradata"):
                return None
            kind = read(memoryview(packet))
            is_entry = kind.is_entry and kind.is_shown and packet.is_keyframe
            if is_entry or kind.parameter_sets:
                # Those of a packet that is skipped would be missing later.
                sets.add(kind.parameter_sets)
            dts = packet.pts if packet.dts is None else packet.dts
            rows.append((packet.pts, dts, packet.size, packet.duration or 0, kind.is_shown, is_entry))
    except (FFmpegError, ValueError, IndexError):
        return None
    if not rows or len(rows) != facts.num_packets or len(sets) > 1:
        return None
    try:
        return _index(rows, SECOND_NS * (stream.time_base or Fraction(1, SECOND_NS)), facts.origin_ns)
    except OverflowError:
        # Times beyond 64 bits, which the reader of the whole file reports.
        return None


def _index(rows: list[_Row], tick_ns: Fraction, origin_ns: int) -> PacketIndex | None:
    pts_P, dts_P, size_P, duration_P = np.array([row[:4] for row in rows], np.int64).T
    shown_P, flagged_P = np.array([row[4:] for row in rows], np.bool_).T
    shown = np.flatnonzero(shown_P)
    order = shown[np.argsort(pts_P[shown], kind="stable")]
    pts_N = pts_P[order]
    if (np.diff(pts_N) <= 0).any():
        return None
    entries = _entries(pts_P, shown_P, flagged_P)
    if not len(entries) or entries[0] != 0:
        return None
    return PacketIndex(
        pts_P=pts_P,
        dts_P=dts_P,
        size_P=size_P,
        pts_N=pts_N,
        pts_ns_N=np.array([round(pts * tick_ns) - origin_ns for pts in pts_N.tolist()], np.int64),
        duration_ns_N=np.array([round(ticks * tick_ns) for ticks in duration_P[order].tolist()], np.int64),
        entry_E=entries,
        entry_rank_E=np.searchsorted(pts_N, pts_P[entries]).astype(np.int64),
    )


def _entries(pts_P: Int64s, shown_P: npt.NDArray[np.bool_], flagged_P: npt.NDArray[np.bool_]) -> Int64s:
    """Returns the flagged packets that have no leading pictures, and of which no trailing one is late."""
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    latest_P = np.maximum.accumulate(np.where(shown_P, pts_P, least))
    before_P = np.concatenate(([least], latest_P[:-1]))
    after_P = np.minimum.accumulate(np.where(shown_P, pts_P, most)[::-1])[::-1]
    return np.flatnonzero(flagged_P & (before_P < pts_P) & (after_P == pts_P)).astype(np.int64)
