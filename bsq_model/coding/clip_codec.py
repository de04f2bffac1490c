"""Encodes and decodes several clips in parallel with one symbol model.

Axes: B lanes, T frames, h and w tokens of a frame, L bits of a token, N = h·w, S = N·L/g groups of a frame.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitmill.bsq_model.coding.range_coder import SymbolDecoder, SymbolEncoder, coder_probabilities
from bitmill.bsq_model.coding.symbol_model import CodingModel, Int64s, SymbolModel
from bitmill.schemas.dataset.packing import pack_bits
from bitmill.schemas.errors import FormatError

Bits = npt.NDArray[np.bool_]
OnFrames = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class CodedClip:
    """One clip's coder output."""

    shape: tuple[int, int, int]
    """T, h, w."""
    checksums: tuple[int, ...]
    """``frame_checksum`` of each frame."""
    data: bytes | None
    """None if it was lost; the other clips of its batch still decode."""


@dataclass(frozen=True, kw_only=True)
class DecodedBits:
    """A clip's decoded frames, up to the first with a wrong checksum."""

    bits_ThwL: Bits
    complete: bool


def frame_checksum(bits_hwL: Bits) -> int:
    """Return the CRC-32 of a frame's packed codes."""
    return zlib.crc32(pack_bits(bits_hwL.reshape(-1, bits_hwL.shape[-1])))


def encode_clips(
    model: CodingModel, clips: Sequence[Bits], lanes: int, *, on_frames: OnFrames = lambda _: None
) -> list[CodedClip]:
    """Encode clips, bool [T, h, w, L], to separate bytes, ``lanes`` of them in parallel.

    A clip's bytes depend on ``lanes`` (by rounding in the model) but on no other clip. ``on_frames`` is
    called with the number of frames coded since its last call.
    """
    coded: list[CodedClip] = []
    for places in lane_batches([_shape(clip) for clip in clips], lanes):
        batch = [clips[place] for place in places]
        data = _encode_batch(model, batch, lanes, on_frames)
        coded += [
            CodedClip(
                shape=_shape(clip), checksums=tuple(frame_checksum(frame) for frame in clip), data=stream
            )
            for clip, stream in zip(batch, data, strict=True)
        ]
    return coded


def decode_clips(
    model: CodingModel,
    clips: Sequence[CodedClip],
    bits_per_token: int,
    lanes: int,
    *,
    on_frames: OnFrames = lambda _: None,
) -> Iterator[DecodedBits]:
    """Decode what ``encode_clips`` returned, with the same ``lanes``, in order.

    Yields only frames with correct checksums: a clip ends before its first wrong frame.
    """
    for places in lane_batches([clip.shape for clip in clips], lanes):
        yield from _decode_batch(model, [clips[place] for place in places], bits_per_token, lanes, on_frames)


def lane_batches(shapes: Sequence[tuple[int, int, int]], lanes: int) -> Iterator[range]:
    """Yield batches of at most ``lanes`` consecutive clips of the same height and width."""
    start = 0
    for place in range(1, len(shapes) + 1):
        full = place - start == lanes
        if place == len(shapes) or full or shapes[place][1:] != shapes[start][1:]:
            yield range(start, place)
            start = place


def _encode_batch(model: CodingModel, clips: Sequence[Bits], lanes: int, on_frames: OnFrames) -> list[bytes]:
    _, height, width, _ = clips[0].shape
    symbols = model.start(lanes, height, width)
    encoders = [SymbolEncoder() for _ in clips]
    for frame in range(max(map(len, clips))):
        active = [lane for lane, clip in enumerate(clips) if frame < len(clip)]
        indices = {lane: groups_of_bits(clips[lane][frame], model.group_bits) for lane in active}
        # A lane without a clip, or past its clip's end, gets zeros.
        indices_BS = np.zeros((lanes, len(indices[active[0]])), np.int64)
        for lane in active:
            indices_BS[lane] = indices[lane]
        narrow_BS = indices_BS.astype(np.int32)
        for step in range(indices_BS.shape[1]):
            p_BK = coder_probabilities(symbols.next_frequencies())
            for lane in active:
                encoders[lane].put(narrow_BS[lane, step : step + 1], p_BK[lane : lane + 1])
            symbols.push(indices_BS[:, step])
        on_frames(len(active))
    return [encoder.finish() for encoder in encoders]


def _decode_batch(
    model: CodingModel, clips: Sequence[CodedClip], bits_per_token: int, lanes: int, on_frames: OnFrames
) -> list[DecodedBits]:
    _, height, width = clips[0].shape
    symbols = model.start(lanes, height, width)
    decoders = {lane: SymbolDecoder(clip.data) for lane, clip in enumerate(clips) if clip.data is not None}
    frames: list[list[Bits]] = [[] for _ in clips]
    num_steps = height * width * bits_per_token // model.group_bits
    while decoders:
        indices_SB = _decode_frame(symbols, decoders, num_steps, lanes)
        at_work = list(decoders)
        for lane in at_work:
            clip = clips[lane]
            bits_NL = bits_of_groups(indices_SB[:, lane], model.group_bits).reshape(-1, bits_per_token)
            bits_hwL = bits_NL.reshape(height, width, bits_per_token)
            right = frame_checksum(bits_hwL) == clip.checksums[len(frames[lane])]
            if right:
                frames[lane].append(bits_hwL)
            if not right or len(frames[lane]) == clip.shape[0]:
                del decoders[lane]
        on_frames(len(at_work))
    empty = np.zeros((0, height, width, bits_per_token), np.bool_)
    return [
        DecodedBits(bits_ThwL=np.stack(found) if found else empty, complete=len(found) == clip.shape[0])
        for found, clip in zip(frames, clips, strict=True)
    ]


def _decode_frame(
    symbols: SymbolModel, decoders: dict[int, SymbolDecoder], num_steps: int, lanes: int
) -> Int64s:
    """Decode int64 [S, B]; invalid bytes yield zeros from there on, which the checksum detects."""
    indices_SB = np.zeros((num_steps, lanes), np.int64)
    reading = dict(decoders)
    for indices_B in indices_SB:
        p_BK = coder_probabilities(symbols.next_frequencies())
        for lane, decoder in list(reading.items()):
            try:
                indices_B[lane] = decoder.take(p_BK[lane : lane + 1])
            except FormatError:
                del reading[lane]
        symbols.push(indices_B)
    return indices_SB


def groups_of_bits(bits_hwL: Bits, group_bits: int) -> Int64s:
    """Return a frame's groups in coding order, int64 [S]; a group's first bit is its most significant."""
    weights_g = 1 << np.arange(group_bits - 1, -1, -1, dtype=np.int64)
    return bits_hwL.reshape(-1, group_bits).astype(np.int64) @ weights_g


def bits_of_groups(indices_S: Int64s, group_bits: int) -> Bits:
    """Return the bits of groups, bool [S, g]: the inverse of ``groups_of_bits``."""
    return (indices_S[:, None] >> np.arange(group_bits - 1, -1, -1) & 1).astype(np.bool_)


def _shape(bits_ThwL: Bits) -> tuple[int, int, int]:
    num_frames, height, width, _ = bits_ThwL.shape
    return num_frames, height, width
