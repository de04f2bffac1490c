"""Measures the size of sources as compressed streams, one file each, for extra rows of the report."""

from bitmill.bsq_model.contract import Tokenizer
from bitmill.pipeline.compressing.clip_streams import LoadedPrior, StreamClip, compress_clips
from bitmill.pipeline.compressing.media_streams import picture_header, stream_clip
from bitmill.pipeline.items import DecodedClip
from bitmill.schemas.dataset.packing import Codes
from bitmill.schemas.reports.evaluation_report import QualityRow
from bitmill.schemas.stream.stream_header import StreamHeader

_MOST_LANES = 8
"""The default of ``bitmill compress``."""


class CompressedSizes:
    """Sums the sizes of whole streams, coded with one prior or none."""

    def __init__(self, name: str, tokenizer: Tokenizer, prior: LoadedPrior | None) -> None:
        self.name = name
        self._tokenizer, self._prior = tokenizer, prior
        self._clips: list[StreamClip] = []
        self._header: StreamHeader | None = None
        self._bits = self._pixels = 0

    def add(self, clip: DecodedClip, codes: Codes) -> None:
        """Add a clip of the current source with the codes of its padded frames."""
        self._clips.append(stream_clip(codes, clip.frames_THWC, self._tokenizer.geometry))
        self._pixels += clip.frames_THWC[..., 0].size
        self._header = picture_header(
            self._tokenizer,
            lanes=min(_MOST_LANES, len(self._clips)),
            tiles=1,
            fps=clip.fps or 0.0,
            source_size_px=(clip.source_height, clip.source_width),
        )

    def end_source(self) -> None:
        """Compress the source's clips to a stream and add its size."""
        if self._header is not None:
            self._bits += 8 * len(compress_clips(self._header, self._clips, self._prior))
        self._clips, self._header = [], None

    def row(self, own: QualityRow) -> QualityRow:
        """Return the tokenizer's row ``own`` with the streams' bit rate; the pictures are the same."""
        update = {"name": self.name, "bits_per_pixel": self._bits / self._pixels, "note": "whole files"}
        return own.model_copy(update=update)
