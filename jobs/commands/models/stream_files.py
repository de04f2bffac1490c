"""Shared by ``bitmill compress`` and ``decompress``: suffixes, options, sized tokenizer, progress."""

from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine, LiveView
from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer

STREAM_SUFFIX = ".bmz"
SHARD_SUFFIX = ".parquet"

TokenizerOption = Annotated[
    str,
    typer.Option(
        "--tokenizer", help="For pictures: small (bundled), a tokenizer's folder, or an installed plugin."
    ),
]
PriorOption = Annotated[
    str | None, typer.Option("--prior", help="small (bundled), a prior's folder, or none.")
]


class SizedTokenizer:
    """Loads a tokenizer by its command-line name; a BSQ-ViT of one size can be resized to another."""

    def __init__(self, name: str) -> None:
        from bitmill.bsq_model.families import load_files
        from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec

        self.name = name
        self.tokenizer: Tokenizer = load_files(load_tokenizer_spec(tokenizer_spec(name)).files)

    @property
    def own_px(self) -> int | None:
        """The side of its frames, which must be square; None if it takes several sizes."""
        from bitmill.jobs.preparation.models.find_frame_sizes import square_size_px

        geometry = self.tokenizer.geometry
        return None if geometry.size_px is None else square_size_px(geometry, None, option="--size")

    def resized(self, size_px: int | None) -> "Tokenizer":
        """Return the tokenizer for frames or tiles of this size; None leaves it as it is.

        Raises UsageError if it would have to be resized and cannot.
        """
        from bitmill.bsq_model import BSQTokenizer
        from bitmill.bsq_model.resolution import resize_tokenizer

        if size_px is None or self.own_px in (None, size_px):
            return self.tokenizer
        if not isinstance(self.tokenizer, BSQTokenizer):
            raise UsageError(f"{self.name} takes frames of {self.own_px} pixels alone, not of {size_px}.")
        return resize_tokenizer(self.tokenizer, size_px)


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
