"""Decodes the sampled frames of a video and as little else as its packets allow."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from itertools import islice

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from bitmill.pipeline.decode.sampling.timeline import TOLERANCE_NS, Sample, Span, Timed, sample
from bitmill.pipeline.decode.video.probe import VideoFacts, check_pixels
from bitmill.pipeline.decode.video.pyav_reader import Frames, PyavPicture, open_decoder
from bitmill.pipeline.decode.video.seeking.packet_index import PacketIndex, index_packets, may_prove
from bitmill.schemas.errors import BadItemError

_MOST_DECODED = 0.75
"""Of the pictures: where almost all must be decoded, the rest is decoded, too, and judged."""


class _UnlikeIndexError(Exception):
    """What was read is not what the index promised."""


class SoughtFrames:
    """Iterates like ``Frames`` over the frames of the span, but decodes the sampled ones alone; others are
    None.

    Each decoded frame must come at its packet's time, right after its predecessor. If one does not, or is
    damaged, the whole file is decoded for that frame and those after it, as without seeking.
    """

    def __init__(
        self,
        path: str,
        facts: VideoFacts,
        index: PacketIndex,
        ranks: list[int],
        opened: tuple[InputContainer, VideoStream],
        *,
        span_ns: Span,
        max_pixels: int,
    ) -> None:
        self._path, self._facts, self._index, self._ranks = path, facts, index, ranks
        self._opened = opened
        self._span_ns, self._max_pixels = span_ns, max_pixels
        self._reformatter = VideoReformatter()
        self._next_packet = 0
        self._whole: Frames | None = None

    @property
    def is_sought(self) -> bool:
        """Whether frames were skipped: what they contain is not judged."""
        return self._whole is None

    @property
    def lost(self) -> BadItemError | None:
        """See ``Frames``."""
        return None if self._whole is None else self._whole.lost

    def __iter__(self) -> Iterator[Timed[PyavPicture | None]]:
        ranks, rank = set(self._ranks), 0
        with closing(self._pictures()) as pictures:
            try:
                for rank, (pts_ns, duration_ns) in _times(self._index, self._span_ns):
                    picture = next(pictures) if rank in ranks else None
                    yield Timed(pts_ns, duration_ns or None, picture)
                return
            except _UnlikeIndexError:
                pass
        self._whole = Frames(self._path, self._facts, span_ns=self._span_ns, max_pixels=self._max_pixels)
        from_ns = int(self._index.pts_ns_N[rank])
        for frame in self._whole:
            if frame.pts_ns >= from_ns:
                yield Timed(frame.pts_ns, frame.duration_ns, frame.frame)

    def _pictures(self) -> Generator[PyavPicture]:
        """Yields the pictures of ``ranks``. Raises _UnlikeIndexError."""
        container, stream = self._opened
        with closing(container):
            frames: Iterator[tuple[int, VideoFrame]] = iter(())
            for number, rank in enumerate(self._ranks):
                entry = self._index.entry_of(rank)
                if not number or self._index.entry_E[entry] > self._next_packet:
                    frames = self._decoded_from(container, stream, entry)
                frame = next((frame for at, frame in frames if at == rank), None)
                if frame is None:
                    raise _UnlikeIndexError
                yield PyavPicture(frame, self._reformatter, self._facts.aspect, self._facts.codec)

    def _decoded_from(
        self, container: InputContainer, stream: VideoStream, entry: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yields frames and their ranks from an entry to the end of the file, as a decoder of all would.

        The decoder is sent packet after packet until it returns a frame, and never made to return it earlier:
        whether it returns it may depend on later packets.
        """
        index, rank = self._index, int(self._index.entry_rank_E[entry])
        try:
            for packet in self._packets_from(container, stream, int(index.entry_E[entry])):
                for frame in packet.decode():
                    if rank == len(index.pts_N) or frame.is_corrupt or frame.pts != index.pts_N[rank]:
                        raise _UnlikeIndexError
                    check_pixels(frame.width, frame.height, self._max_pixels)
                    yield rank, frame
                    rank += 1
        except FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise _UnlikeIndexError from error

    def _packets_from(
        self, container: InputContainer, stream: VideoStream, place: int
    ) -> "Iterator[Packet[VideoStream]]":
        index = self._index
        # Matroska's own index has presentation times, that of MP4 decoding times.
        times_P = index.pts_P if self._facts.container.startswith("matroska") else index.dts_P
        container.seek(int(times_P[place]), stream=stream)
        begun = False
        for packet in container.demux(stream):
            if packet.size:
                begun = begun or self._is(packet, place)
                if not begun and (packet.pts is None or packet.pts > index.pts_P[place]):
                    raise _UnlikeIndexError
                if begun:
                    if place == len(index.pts_P) or not self._is(packet, place):
                        raise _UnlikeIndexError
                    place += 1
                    self._next_packet = place
            if begun:
                yield packet

    def _is(self, packet: "Packet[VideoStream]", place: int) -> bool:
        index = self._index
        return packet.pts == index.pts_P[place] and packet.size == index.size_P[place]


def sought_frames(
    path: str,
    facts: VideoFacts,
    *,
    fps: float,
    span_ns: Span,
    max_frames: int,
    max_pixels: int,
    native_fps: float | None,
) -> SoughtFrames | None:
    """Returns a reader that seeks, or None if the packets do not prove that it returns the same frames, or if
    it would decode almost all. The arguments are those of ``sample`` and ``Frames``.
    """
    if not may_prove(facts):
        return None
    with ExitStack() as stack:
        container, stream = open_decoder(path)
        stack.callback(container.close)
        index = index_packets(container, stream, facts)
        ranks = None if index is None else _ranks(index, fps, span_ns, max_frames, native_fps)
        if index is None or ranks is None:
            return None
        # Open until the frames are read.
        stack.pop_all()
    opened = container, stream
    return SoughtFrames(path, facts, index, ranks, opened, span_ns=span_ns, max_pixels=max_pixels)


def _ranks(
    index: PacketIndex, fps: float, span_ns: Span, max_frames: int, native_fps: float | None
) -> list[int] | None:
    """Returns the ranks of the frames to be sampled, or None if almost all must be decoded for them."""
    times = (
        Timed(pts_ns, duration_ns or None, rank) for rank, (pts_ns, duration_ns) in _times(index, span_ns)
    )
    samples = sample(times, span_ns=span_ns, fps=fps, native_fps=native_fps)
    taken = (item.frame for item in samples if isinstance(item, Sample))
    # One sample more than is allowed is read.
    ranks = list(dict.fromkeys(islice(taken, max_frames + 1)))
    first = ranks[0] if ranks else 0
    stop_ns = span_ns[1]
    last = len(index.pts_N) if stop_ns is None else int(index.pts_ns_N.searchsorted(stop_ns))
    if not ranks or index.num_decoded(ranks) > _MOST_DECODED * (last - first):
        return None
    return ranks


def _times(index: PacketIndex, span_ns: Span) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yields rank and (pts_ns, duration_ns) of the frame shown at the span's start and of all after it."""
    start_ns = span_ns[0]
    begin = 0
    if start_ns is not None:
        begin = max(0, int(index.pts_ns_N.searchsorted(start_ns - TOLERANCE_NS, side="right")) - 1)
    pts = index.pts_ns_N[begin:].tolist()
    durations = index.duration_ns_N[begin:].tolist()
    yield from enumerate(zip(pts, durations, strict=True), begin)
