"""What measured sources take as compressed streams, a file each: rows of their own beside the bare codes."""

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.coding.clip_codec import Bits
from bitmill.pipeline.compressing.clip_streams import LoadedPrior, compress_clips
from bitmill.pipeline.compressing.media_streams import picture_header
from bitmill.pipeline.items import DecodedClip
from bitmill.schemas.reports.evaluation_report import QualityRow
from bitmill.schemas.stream.stream_header import StreamHeader

_MOST_LANES = 8
"""As ``bitmill compress`` has it."""


class CompressedSizes:
    """Sums of bytes over whole streams, coded with one prior, or with none."""

    def __init__(self, name: str, tokenizer: BSQTokenizer, prior: LoadedPrior | None) -> None:
        self.name = name
        self._tokenizer, self._prior = tokenizer, prior
        self._clips: list[Bits] = []
        self._header: StreamHeader | None = None
        self._bits = self._pixels = 0

    def add(self, clip: DecodedClip, bits_ThwL: Bits) -> None:
        """One more clip of the source at hand."""
        self._clips.append(bits_ThwL)
        self._pixels += clip.frames_THWC[..., 0].size
        self._header = picture_header(
            self._tokenizer,
            lanes=min(_MOST_LANES, len(self._clips)),
            tiles=1,
            fps=clip.fps or 0.0,
            source_size_px=(clip.source_height, clip.source_width),
        )

    def end_source(self) -> None:
        """The source has no more clips: its stream is made, and only its size is kept."""
        if self._header is not None:
            self._bits += 8 * len(compress_clips(self._header, self._clips, self._prior))
        self._clips, self._header = [], None

    def row(self, own: QualityRow) -> QualityRow:
        """The tokenizer's row, whose pictures these are, at the streams' rate."""
        update = {"name": self.name, "bits_per_pixel": self._bits / self._pixels, "note": "whole files"}
        return own.model_copy(update=update)
