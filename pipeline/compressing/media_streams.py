"""Compresses an image or video, decoded as by ``tokenize``, to a stream with a chunk per clip, and back.

Axes: T frames, H and W pixels, t, h and w of the token grid, D dimensions of a code.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from bitmill.bsq_model.contract import Tokenizer, decode_clips
from bitmill.pipeline.compressing.clip_streams import (
    LoadedPrior,
    OnFrames,
    RestoredClip,
    StreamClip,
    compress_clips,
    restore_clips,
)
from bitmill.pipeline.isolation.decode_process import isolated_events
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.schemas.arrays import Frames
from bitmill.schemas.dataset.packing import Codes
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.stream.compressed import CompressedStream
from bitmill.schemas.stream.stream_header import ClipPlace, StreamHeader, StreamKind

_LOST_GREY = 128


def decoded_clips(source: PlannedSource, settings: DecodeSettings) -> list[DecodedClip]:
    """Decode all clips of an image or video in a child process. Raises UsageError if any does not decode."""
    clips: list[DecodedClip] = []
    with closing(isolated_events(source, settings)) as events:
        for event in events:
            if isinstance(event, DecodedClip):
                clips.append(event)
            elif isinstance(event, ItemEnd) and event.reason is not None:
                raise UsageError(f"{source.uri} cannot be compressed: {event.reason}: {event.detail}")
    if not clips:
        raise UsageError(f"{source.uri} contains no frame to compress.")
    return clips


def compress_pictures(
    clips: Sequence[DecodedClip],
    tokenizer: Tokenizer,
    prior: LoadedPrior | None,
    lanes: int,
    *,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Compress one source's clips to a stream, at most ``lanes`` in parallel.

    Frames larger than the tokenizer's only size are a multiple of it: they are split into tiles of that
    size, and each tile's clip is tokenized and coded separately. A clip of a length that the tokenizer does
    not take is padded with its last frame; the stream stores its own length.
    """
    first, geometry = clips[0], tokenizer.geometry
    tiles = num_tiles(geometry, first.frames_THWC.shape[1:3])
    header = picture_header(
        tokenizer,
        lanes=min(lanes, len(clips) * tiles**2),
        tiles=tiles,
        fps=_frames_per_second(clips),
        source_size_px=(first.source_height, first.source_width),
    )
    encoder = ModelEncoder(tokenizer)
    # One clip per call: codes do not depend on the batch, and memory stays small.
    coded = [
        stream_clip(encoder.encode([padded(tile_THWC, geometry)])[0], tile_THWC, geometry)
        for clip in clips
        for tile_THWC in tiles_of(clip.frames_THWC, tiles)
    ]
    return compress_clips(header, coded, prior, on_frames=on_frames)


def num_tiles(geometry: Geometry, size: SizePx) -> int:
    """Return the tiles along a side of frames: 1 if the tokenizer takes more than one size."""
    return size[0] // geometry.size_px[0] if geometry.size_px is not None else 1


def stream_clip(codes: Codes, frames_THWC: Frames, geometry: Geometry) -> StreamClip:
    """Return the codes of ``padded`` frames with what a stream stores of the frames themselves."""
    num_frames, height_px, width_px = frames_THWC.shape[:3]
    num_padded = geometry.legal_at_least(num_frames) or num_frames
    return StreamClip(
        codes=codes,
        shape_thw=(geometry.token_rows(num_padded), *geometry.grid(height_px, width_px)),
        num_frames=num_frames,
    )


def picture_header(
    tokenizer: Tokenizer, *, lanes: int, tiles: int, fps: float, source_size_px: tuple[int, int]
) -> StreamHeader:
    """Return a picture stream's header without clips and prior; ``source_size_px`` is (height, width)."""
    return StreamHeader(
        kind=StreamKind.PICTURES,
        tokenizer_fingerprint=tokenizer.fingerprint,
        geometry=tokenizer.geometry,
        group_bits=1,
        lanes=lanes,
        prior=None,
        tiles=tiles,
        fps=fps,
        source_height=source_size_px[0],
        source_width=source_size_px[1],
    )


def tiles_of(frames_THWC: Frames, tiles: int) -> list[Frames]:
    """Split frames into ``tiles``² equal parts, row by row, C-contiguous."""
    height, width = (size // tiles for size in frames_THWC.shape[1:3])
    return [
        np.ascontiguousarray(
            frames_THWC[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
        )
        for row in range(tiles)
        for column in range(tiles)
    ]


def frames_of_tiles(parts: Sequence[Frames], tiles: int) -> Frames:
    """Join tiles, the inverse of ``tiles_of``; parts shorter than the longest are padded with grey frames."""
    num_frames = max(map(len, parts))
    whole = [_lengthened(part, num_frames) for part in parts]
    rows = [np.concatenate(whole[row * tiles : (row + 1) * tiles], axis=2) for row in range(tiles)]
    return np.concatenate(rows, axis=1)


def _lengthened(part_THWC: Frames, num_frames: int) -> Frames:
    missing = num_frames - len(part_THWC)
    return np.pad(part_THWC, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=_LOST_GREY)


@dataclass(frozen=True, kw_only=True)
class RestoredPictures:
    """One clip's frames, as many as its longest tile has; missing tile frames are grey."""

    frames_THWC: Frames
    num_frames: int
    """The number of frames in the header."""
    tile_frames: tuple[int, ...]
    """Number of restored frames per tile, row by row."""


def restore_pictures(
    stream: CompressedStream,
    tokenizer: Tokenizer,
    prior: LoadedPrior | None,
    *,
    origin: str,
    salvage: bool = False,
    on_frames: OnFrames = lambda _: None,
) -> list[RestoredPictures]:
    """Restore a stream's clips and decode them with the tokenizer.

    Raises TokenizerMismatchError if the stream was made with another tokenizer, and what ``restore_clips``
    raises.
    """
    check_tokenizer(stream, tokenizer, origin)
    tiles = stream.header.tiles
    parts: list[Frames] = []
    found: list[RestoredPictures] = []
    for clip in restore_clips(stream, prior, origin=origin, salvage=salvage, on_frames=on_frames):
        parts.append(_shown(clip, tokenizer))
        if len(parts) == tiles**2:
            found.append(
                RestoredPictures(
                    frames_THWC=frames_of_tiles(parts, tiles),
                    num_frames=clip.place.num_frames,
                    tile_frames=tuple(map(len, parts)),
                )
            )
            parts.clear()
    return found


def _shown(clip: RestoredClip, tokenizer: Tokenizer) -> Frames:
    """Return the clip's own frames; of a damaged clip those that its first token rows stand for."""
    geometry, codes = tokenizer.geometry, clip.codes
    if not clip.complete:
        codes = codes[: _rows_before_damage(geometry, len(codes))]
    if not len(codes):
        height, width = clip.place.height * geometry.patch_px[0], clip.place.width * geometry.patch_px[1]
        return np.zeros((0, height, width, 3), np.uint8)
    grid = clip.place.shape if clip.complete else (len(codes), *clip.place.shape[1:])
    decoded = decode_clips(tokenizer, [torch.from_numpy(codes)], [grid])
    return decoded[0].cpu().numpy()[: clip.place.num_frames]


def _rows_before_damage(geometry: Geometry, num_rows: int) -> int:
    """Return how many of a clip's first rows are a clip; 0 if they would not be without the later ones."""
    if not num_rows or geometry.layout != "grid" or "prefix" not in geometry.promises:
        return 0
    num_frames = geometry.legal_at_most(geometry.frames_of_rows(num_rows))
    return 0 if num_frames is None else geometry.token_rows(num_frames)


def check_tokenizer(stream: CompressedStream, tokenizer: Tokenizer, origin: str) -> None:
    """Raise TokenizerMismatchError for another tokenizer than the stream's, FormatError for wrong shapes."""
    header, geometry = stream.header, tokenizer.geometry
    ours = tokenizer.fingerprint
    if header.tokenizer_fingerprint != ours:
        raise TokenizerMismatchError(
            f"{origin} was made with tokenizer {header.tokenizer_fingerprint}, this one is {ours}; pass the "
            "stream's tokenizer with --tokenizer."
        )
    if _tokens_of(header.geometry) != _tokens_of(geometry):
        raise FormatError(f"The header of {origin} declares other tokens than its tokenizer's.")
    for place in header.clips:
        if not _can_produce(geometry, place):
            raise FormatError(
                f"The header of {origin} declares a clip of {place.num_rows} × {place.height} × "
                f"{place.width} tokens, which its tokenizer cannot produce."
            )
    tiles = header.tiles**2
    lengths = [(place.num_rows, place.num_frames) for place in header.clips]
    whole = len(lengths) % tiles == 0 and all(
        len({*lengths[first : first + tiles]}) == 1 for first in range(0, len(lengths), tiles)
    )
    if not whole:
        raise FormatError(f"The header of {origin} declares tiles that do not form whole frames.")


def _tokens_of(geometry: Geometry) -> tuple[object, ...]:
    """Return what every version of a stream stores of a geometry."""
    return geometry.code, geometry.patch_px, geometry.frames_per_token, geometry.schedules


def _can_produce(geometry: Geometry, place: ClipPlace) -> bool:
    height, width = place.height * geometry.patch_px[0], place.width * geometry.patch_px[1]
    if geometry.size_px is not None:
        fits = (height, width) == geometry.size_px
    else:
        fits = not (height % geometry.multiple_px[0] or width % geometry.multiple_px[1])
    num_frames = geometry.frames_of_rows(place.num_rows)
    return fits and geometry.is_legal(num_frames) and place.num_frames <= num_frames


def _frames_per_second(clips: Sequence[DecodedClip]) -> float:
    """Return the nominal frame rate, else that of the timestamps; 0 for a single picture."""
    first, last = clips[0], clips[-1]
    if first.start_ns == last.end_ns:
        return 0.0
    num_frames = sum(len(clip.frames_THWC) for clip in clips)
    return first.fps or num_frames / (last.end_ns - first.start_ns) * 1e9
