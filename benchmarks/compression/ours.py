"""bitmill's own contenders: a tokenizer at several frame sizes, coded with a prior or without one."""

from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.compression.contender import Coded
from benchmarks.compression.media import Frames, Item, resized
from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.resolution import resize_tokenizer
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.pipeline.compressing.media_streams import (
    compress_pictures,
    frames_of_tiles,
    num_tiles,
    restore_pictures,
    tiles_of,
)
from bitmill.pipeline.items import Crop, DecodedClip
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.schemas.stream.compressed import CompressedStream

_LANES = 8


@dataclass
class SizedTokenizers:
    """One trained tokenizer and, if it takes one size only, its copies at other sizes, made once each."""

    name: str
    trained: Tokenizer
    _sizes: dict[int, BSQTokenizer] = field(default_factory=dict[int, BSQTokenizer])

    @property
    def takes_video(self) -> bool:
        """Whether it was made for more than single frames."""
        return self.trained.geometry.usual_frames > 1

    def at(self, size_px: int) -> Tokenizer:
        """For frames of ``size_px``²: itself where it takes them or its tiles make them, else interpolated
        positions."""
        if not isinstance(self.trained, BSQTokenizer) or size_px % self.trained.config.image_size_px == 0:
            return self.trained
        if size_px not in self._sizes:
            self._sizes[size_px] = resize_tokenizer(self.trained, size_px)
        return self._sizes[size_px]


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Frames are brought to the setting's size, tokenized, coded; restored frames are brought back."""

    tokenizers: SizedTokenizers
    prior: LoadedPrior | None
    settings: tuple[int, ...]
    _proven: set[int] = field(default_factory=set[int])

    @property
    def name(self) -> str:
        """See Contender."""
        return f"{self.tokenizers.name}, {'no prior' if self.prior is None else 'prior'}"

    def code(self, item: Item, setting: int) -> Coded:
        """See Contender. The first file of each setting is read back, to prove the frames right."""
        tokenizer = self.tokenizers.at(setting)
        clips = _clips(item, resized(item.frames_THWC, setting), tokenizer.geometry.usual_frames)
        data = compress_pictures(clips, tokenizer, self.prior, _LANES)
        frames_THWC = np.concatenate([_through_bits(clip.frames_THWC, tokenizer) for clip in clips])
        if setting not in self._proven:
            stream = CompressedStream(data, origin=item.name)
            pictures = restore_pictures(stream, tokenizer, self.prior, origin=item.name)
            if not np.array_equal(np.concatenate([one.frames_THWC for one in pictures]), frames_THWC):
                raise AssertionError(f"{item.name} came back with other frames")
            self._proven.add(setting)
        return Coded(num_bytes=len(data), frames_THWC=resized(frames_THWC, item.frames_THWC.shape[1]))


def _through_bits(frames_THWC: Frames, tokenizer: Tokenizer) -> Frames:
    """What the decoder makes of the tokens, tile by tile: what every exact coder gives back."""
    geometry = tokenizer.geometry
    tiles = num_tiles(geometry, frames_THWC.shape[1:3])
    parts = [
        tokenizer.decode(tokenizer.encode([torch.from_numpy(padded(part, geometry))]))[0].numpy()[: len(part)]
        for part in tiles_of(frames_THWC, tiles)
    ]
    return frames_of_tiles(parts, tiles)


def _clips(item: Item, frames_THWC: Frames, clip_frames: int) -> list[DecodedClip]:
    duration_ns = round(1e9 / item.fps) if item.fps else 0
    size_px = frames_THWC.shape[1]
    return [
        DecodedClip(
            frames_THWC=np.ascontiguousarray(frames_THWC[first : first + clip_frames]),
            frame_pts_ns=np.arange(first, min(first + clip_frames, len(frames_THWC)), dtype=np.int64)
            * duration_ns,
            start_ns=first * duration_ns,
            end_ns=min(first + clip_frames, len(frames_THWC)) * duration_ns,
            fps=item.fps or None,
            source_height=size_px,
            source_width=size_px,
            crop=Crop(scaled_height=size_px, scaled_width=size_px, top=0, left=0),
        )
        for first in range(0, len(frames_THWC), clip_frames)
    ]
