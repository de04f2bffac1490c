"""Shared by ``bitmill compress`` and ``decompress``: suffixes, options, sized tokenizer, progress."""

from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine

if TYPE_CHECKING:
    from bitmill.bsq_model import BSQTokenizer

STREAM_SUFFIX = ".bmz"
SHARD_SUFFIX = ".parquet"

TokenizerOption = Annotated[
    str, typer.Option("--tokenizer", help="For pictures: small (bundled), or a tokenizer's folder.")
]
PriorOption = Annotated[
    str | None, typer.Option("--prior", help="small (bundled), a prior's folder, or none.")
]


class SizedTokenizer:
    """Loads a tokenizer by its command-line name, resized to a frame or tile size."""

    def __init__(self, name: str, tile_px: int | None = None) -> None:
        from bitmill.bsq_model.resolution import resize_tokenizer
        from bitmill.jobs.preparation.find_tokenizers import load_tokenizer_spec, tokenizer_spec

        loaded = load_tokenizer_spec(tokenizer_spec(name))
        self.model: BSQTokenizer = loaded.bsq_vit()
        self.own_px = self.model.config.image_size_px
        if tile_px is not None and tile_px != self.own_px:
            self.model = resize_tokenizer(self.model, tile_px)


def plain_console() -> Console:
    """Returns a console that does not wrap lines."""
    return Console(soft_wrap=True)


class FramesView:
    """Context manager that shows the coder's progress."""

    def __init__(self, console: Console, verb: str) -> None:
        self._verb = verb
        self._shown = LiveLine(console)
        self.planned = 0
        self._done = 0

    def __enter__(self) -> "FramesView":
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()

    def add(self, frames: int) -> None:
        """Count finished frames."""
        self._done += frames
        self._shown.show(lambda: f"{self._verb} {self._done}/{self.planned} frames")
