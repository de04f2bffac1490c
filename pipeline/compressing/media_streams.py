"""Compresses an image or video, decoded as by ``tokenize``, to a stream with a chunk per clip, and back."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bitmill.bsq_model import BSQTokenizer
from bitmill.pipeline.compressing.clip_streams import (
    LoadedPrior,
    OnFrames,
    RestoredClip,
    compress_clips,
    restore_clips,
)
from bitmill.pipeline.isolation.decode_process import isolated_events
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.shard.encoder import ModelEncoder
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from bitmill.schemas.stream.compressed import CompressedStream
from bitmill.schemas.stream.stream_header import StreamHeader, StreamKind

Frames = npt.NDArray[np.uint8]

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
    tokenizer: BSQTokenizer,
    prior: LoadedPrior | None,
    lanes: int,
    *,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Compress one source's clips to a stream, at most ``lanes`` in parallel.

    Frames have the tokenizer's size or a multiple of it; larger ones are split into tiles of that size, and
    each tile's clip is tokenized and coded separately.
    """
    first = clips[0]
    tiles = first.frames_THWC.shape[1] // tokenizer.config.image_size_px
    header = picture_header(
        tokenizer,
        lanes=min(lanes, len(clips) * tiles**2),
        tiles=tiles,
        fps=_frames_per_second(clips),
        source_size_px=(first.source_height, first.source_width),
    )
    encoder = ModelEncoder(tokenizer)
    # One clip per call: bits do not depend on the batch, and memory stays small.
    bits: list[Any] = [
        encoder.encode([tile_THWC])[0] for clip in clips for tile_THWC in tiles_of(clip.frames_THWC, tiles)
    ]
    return compress_clips(header, bits, prior, on_frames=on_frames)


def picture_header(
    tokenizer: BSQTokenizer, *, lanes: int, tiles: int, fps: float, source_size_px: tuple[int, int]
) -> StreamHeader:
    """Return a picture stream's header without clips and prior; ``source_size_px`` is (height, width)."""
    return StreamHeader(
        kind=StreamKind.PICTURES,
        tokenizer_fingerprint=tokenizer.fingerprint,
        bits_per_token=tokenizer.config.bits_per_token,
        patch_size_px=tokenizer.config.patch_size_px,
        group_bits=1,
        lanes=lanes,
        prior=None,
        tiles=tiles,
        fps=fps,
        source_height=source_size_px[0],
        source_width=source_size_px[1],
    )


def tiles_of(frames_THWC: Frames, tiles: int) -> list[Frames]:
    """Split square frames into ``tiles``² squares, row by row, C-contiguous."""
    side = frames_THWC.shape[1] // tiles
    return [
        np.ascontiguousarray(
            frames_THWC[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
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
    tokenizer: BSQTokenizer,
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
                    num_frames=clip.num_frames,
                    tile_frames=tuple(map(len, parts)),
                )
            )
            parts.clear()
    return found


def _shown(clip: RestoredClip, tokenizer: BSQTokenizer) -> Frames:
    if not len(clip.bits_ThwL):
        side = tokenizer.config.image_size_px
        return np.zeros((0, side, side, 3), np.uint8)
    return tokenizer.decode([torch.from_numpy(clip.bits_ThwL)])[0].cpu().numpy()


def check_tokenizer(stream: CompressedStream, tokenizer: BSQTokenizer, origin: str) -> None:
    """Raise TokenizerMismatchError for another tokenizer than the stream's, FormatError for wrong shapes."""
    header, config = stream.header, tokenizer.config
    ours = tokenizer.fingerprint
    if header.tokenizer_fingerprint != ours:
        raise TokenizerMismatchError(
            f"{origin} was made with tokenizer {header.tokenizer_fingerprint}, this one is {ours}; pass the "
            "stream's tokenizer with --tokenizer."
        )
    grid = (config.grid_size, config.grid_size)
    for place in header.clips:
        if place.shape[1:] != grid or place.num_frames > config.num_frames:
            raise FormatError(
                f"The header of {origin} declares a clip of {place.num_frames} × {place.height} × "
                f"{place.width} tokens, which its tokenizer cannot produce."
            )
    if header.bits_per_token != config.bits_per_token:
        raise FormatError(f"The header of {origin} declares other bits per token than its tokenizer's.")
    tiles = header.tiles**2
    lengths = [place.num_frames for place in header.clips]
    whole = len(lengths) % tiles == 0 and all(
        len({*lengths[first : first + tiles]}) == 1 for first in range(0, len(lengths), tiles)
    )
    if not whole:
        raise FormatError(f"The header of {origin} declares tiles that do not form whole frames.")


def _frames_per_second(clips: Sequence[DecodedClip]) -> float:
    """Return the nominal frame rate, else that of the timestamps; 0 for a single picture."""
    first, last = clips[0], clips[-1]
    if first.start_ns == last.end_ns:
        return 0.0
    num_frames = sum(len(clip.frames_THWC) for clip in clips)
    return first.fps or num_frames / (last.end_ns - first.start_ns) * 1e9
