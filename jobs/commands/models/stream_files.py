"""Shared by ``bitmill compress`` and ``decompress``: suffixes, options, sized tokenizer, progress."""

from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine, LiveView
from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.schemas.models.geometry import SizePx

STREAM_SUFFIX = ".bmz"
SHARD_SUFFIX = ".parquet"

TokenizerOption = Annotated[
    str,
    typer.Option(
        "--tokenizer",
        help="For pictures: small-1 or small (bundled), a folder, or an installed plugin.",
    ),
]
PriorOption = Annotated[
    str | None,
    typer.Option(
        "--prior",
        help="small-1 or small (bundled), a prior's folder, or none; default: the tokenizer's bundled one.",
    ),
]


class SizedTokenizer:
    """Loads a tokenizer by its command-line name; a BSQ-ViT of one size can be made to take another."""

    def __init__(self, name: str) -> None:
        from bitmill.bsq_model.families import load_files
        from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec

        self.name = name
        self.tokenizer: Tokenizer = load_files(load_tokenizer_spec(tokenizer_spec(name)).files)

    def resized(self, size: "SizePx | None") -> "Tokenizer":
        """Return the tokenizer for frames or tiles of this size; None leaves it as it is.

        A BSQ-ViT becomes a resized copy for a square, and one with interpolated positions for another shape.
        Raises UsageError if it would have to be resized and cannot.
        """
        from bitmill.bsq_model import BSQTokenizer
        from bitmill.bsq_model.resolution import interpolating, resize_tokenizer

        own = self.tokenizer.geometry.size_px
        if size is None or own in (None, size):
            return self.tokenizer
        if not isinstance(self.tokenizer, BSQTokenizer):
            told = "×".join(map(str, dict.fromkeys(own)))
            raise UsageError(f"{self.name} takes frames of {told} pixels alone, not of {size[0]}×{size[1]}.")
        is_square = size[0] == size[1]
        return resize_tokenizer(self.tokenizer, size[0]) if is_square else interpolating(self.tokenizer)


class FramesView(LiveView):
    """Context manager that shows the coder's progress."""

    def __init__(self, console: Console, verb: str) -> None:
        self._verb = verb
        super().__init__(LiveLine(console))
        self.planned = 0
        self._done = 0

    def add(self, frames: int) -> None:
        """Count finished frames."""
        self._done += frames
        self._shown.show(lambda: f"{self._verb} {self._done}/{self.planned} frames")
