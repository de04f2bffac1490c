"""Encodes and decodes several clips in parallel with one symbol model.

Axes: B lanes, t rows of h × w tokens, D dimensions of a code, N = h·w, S symbols of a row.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bitmill.bsq_model.coding.alphabet import Alphabet
from bitmill.bsq_model.coding.range_coder import SymbolDecoder, SymbolEncoder, coder_probabilities
from bitmill.bsq_model.coding.symbol_model import CodingModel, Int64s, SymbolModel
from bitmill.schemas.dataset.packing import Codes, pack_codes
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code

OnFrames = Callable[[int], None]

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class CodedClip:
    """One clip's coder output."""

    shape: tuple[int, int, int]
    """t, h, w."""
    checksums: tuple[int, ...]
    """``row_checksum`` of each row."""
    data: bytes | None
    """None if it was lost; the other clips of its batch still decode."""


@dataclass(frozen=True, kw_only=True)
class DecodedClip:
    """A clip's decoded rows, up to the first with a wrong checksum."""

    codes_thwD: Codes
    complete: bool


def row_checksum(codes_hwD: Codes, code: Code) -> int:
    """Return the CRC-32 of a row's packed codes. Raises ValueError if they are not of ``code``."""
    return zlib.crc32(pack_codes(codes_hwD.reshape(-1, codes_hwD.shape[-1]), code))


def encode_clips(
    model: CodingModel,
    clips: Sequence[Codes],
    code: Code,
    lanes: int,
    *,
    on_frames: OnFrames = lambda _: None,
) -> list[CodedClip]:
    """Encode clips [t, h, w, D] of ``code`` to separate bytes, ``lanes`` of them in parallel.

    A clip's bytes depend on ``lanes`` (by rounding in the model) but on no other clip. ``on_frames`` is
    called with the number of rows coded since its last call.
    """
    alphabet = Alphabet(code, model.group_bits)
    coded: list[CodedClip] = []
    for places in lane_batches([_shape(clip) for clip in clips], lanes):
        batch = [clips[place] for place in places]
        data = _encode_batch(model, batch, alphabet, lanes, on_frames)
        coded += [
            CodedClip(
                shape=_shape(clip), checksums=tuple(row_checksum(row, code) for row in clip), data=stream
            )
            for clip, stream in zip(batch, data, strict=True)
        ]
    return coded


def decode_clips(
    model: CodingModel,
    clips: Sequence[CodedClip],
    code: Code,
    lanes: int,
    *,
    on_frames: OnFrames = lambda _: None,
) -> Iterator[DecodedClip]:
    """Decode what ``encode_clips`` returned, with the same ``lanes``, in order.

    Yields only rows with correct checksums: a clip ends before its first wrong row.
    """
    alphabet = Alphabet(code, model.group_bits)
    for places in lane_batches([clip.shape for clip in clips], lanes):
        yield from _decode_batch(model, [clips[place] for place in places], alphabet, lanes, on_frames)


def lane_batches(shapes: Sequence[tuple[int, int, int]], lanes: int) -> Iterator[range]:
    """Yield batches of at most ``lanes`` consecutive clips of the same height and width."""
    start = 0
    for place in range(1, len(shapes) + 1):
        full = place - start == lanes
        if place == len(shapes) or full or shapes[place][1:] != shapes[start][1:]:
            yield range(start, place)
            start = place


def _encode_batch(
    model: CodingModel, clips: Sequence[Codes], alphabet: Alphabet, lanes: int, on_frames: OnFrames
) -> list[bytes]:
    _, height, width, num_dimensions = clips[0].shape
    symbols = model.start(lanes, height, width)
    encoders = [SymbolEncoder() for _ in clips]
    for row in range(max(map(len, clips))):
        active = [lane for lane, clip in enumerate(clips) if row < len(clip)]
        indices = {lane: alphabet.symbols_of(clips[lane][row].reshape(-1, num_dimensions)) for lane in active}
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
    model: CodingModel, clips: Sequence[CodedClip], alphabet: Alphabet, lanes: int, on_frames: OnFrames
) -> list[DecodedClip]:
    _, height, width = clips[0].shape
    symbols = model.start(lanes, height, width)
    decoders = {lane: SymbolDecoder(clip.data) for lane, clip in enumerate(clips) if clip.data is not None}
    rows: list[list[Int64s]] = [[] for _ in clips]
    num_steps = height * width * len(alphabet.sizes)
    while decoders:
        indices_SB = _decode_row(symbols, decoders, num_steps, lanes)
        at_work = list(decoders)
        for lane in at_work:
            clip = clips[lane]
            indices_S = indices_SB[:, lane]
            right = _is_right(indices_S, alphabet, clip.checksums[len(rows[lane])])
            if right:
                rows[lane].append(indices_S.copy())
            if not right or len(rows[lane]) == clip.shape[0]:
                del decoders[lane]
        on_frames(len(at_work))
    shape = (height, width, alphabet.code.dimensions)
    return [
        DecodedClip(
            codes_thwD=alphabet.codes_of(np.concatenate([_NONE, *found])).reshape(len(found), *shape),
            complete=len(found) == clip.shape[0],
        )
        for found, clip in zip(rows, clips, strict=True)
    ]


def _decode_row(
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


def _is_right(indices_S: Int64s, alphabet: Alphabet, checksum: int) -> bool:
    try:
        return row_checksum(alphabet.codes_of(indices_S), alphabet.code) == checksum
    except ValueError:  # An index that is not below the number of codes.
        return False


def _shape(codes_thwD: Codes) -> tuple[int, int, int]:
    num_rows, height, width, _ = codes_thwD.shape
    return num_rows, height, width
