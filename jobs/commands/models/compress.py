"""``bitmill compress``: codes an image, a video or a token shard to a small file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.commands.models.stream_files import (
    SHARD_SUFFIX,
    STREAM_SUFFIX,
    FramesView,
    PriorOption,
    SizedTokenizer,
    TokenizerOption,
)
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import check_suffix, folder_of, publish
from bitmill.jobs.preparation.job_files import frame_rate
from bitmill.jobs.preparation.models.find_token_models import choose_prior
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.pipeline.compressing.clip_streams import LoadedPrior
    from bitmill.schemas.models.geometry import Geometry, SizePx

Source = Annotated[str, typer.Argument(metavar="IN", help="An image, a video, or a token shard (.parquet).")]


def compress(
    source: Source,
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write: NAME.bmz.")],
    tokenizer: TokenizerOption = "small-1",
    prior: PriorOption = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps", callback=frame_rate, help="Sampled frames per second of a video; default: every frame."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            help="Frame size in pixels: a square's side, or HEIGHTxWIDTH; default: the tokenizer's own. "
            "Squares of a multiple of it are cut into tiles.",
        ),
    ] = None,
    interpolate_positions: Annotated[
        bool, typer.Option("--interpolate-positions", help="Allow any other --size, without tiles.")
    ] = False,
    lanes: Annotated[
        int, typer.Option("--lanes", min=1, max=1024, help="Maximum number of clips coded in parallel.")
    ] = 8,
) -> None:
    """Compress an image, a video or a token shard. Frames are resized and cropped as by tokenize."""
    check_suffix(out, (STREAM_SUFFIX,))
    console = Console(soft_wrap=True)
    with FramesView(console, "coded") as view:
        if source.lower().endswith(SHARD_SUFFIX):
            made = _compress_shard(source, prior, lanes, view)
        else:
            chosen = SizedTokenizer(tokenizer)
            made_for, frame_size = _tokenizer_and_size(chosen, size, interpolate_positions)
            made = _compress_pictures(source, made_for, frame_size, prior, fps, lanes, view)
    publish(out, lambda path: path.write_bytes(made.data))
    ratio = len(made.data) * 8 / made.tokens_bits
    console.print(
        f"wrote {out}: {made.what}, {bytes_text(len(made.data))} ({ratio:.1%} of the uncompressed codes"
        f"{made.rate}), {made.coder}"
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A compressed stream and its summary."""

    data: bytes
    what: str
    tokens_bits: int
    coder: str
    rate: str = ""


def _tokenizer_and_size(
    chosen: SizedTokenizer, text: str | None, may_interpolate: bool
) -> "tuple[Tokenizer, SizePx]":
    """Returns the tokenizer and the frame size, which it takes whole or in tiles. Raises UsageError."""
    from bitmill.jobs.preparation.models.find_frame_sizes import option_size, size_of_text, size_text

    geometry, size = chosen.tokenizer.geometry, None if text is None else size_of_text(text)
    own = geometry.size_px
    if size is None or own in (None, size):
        return chosen.tokenizer, option_size(geometry, size)
    if may_interpolate:
        resized = chosen.resized(size)
        return resized, option_size(resized.geometry, size)
    tiles = size[0] // own[0]
    if size != (tiles * own[0], tiles * own[1]):
        raise UsageError(
            f"--size {size_text(size)} is not a multiple of the tokenizer's size ({size_text(own)}); add "
            "--interpolate-positions to allow it."
        )
    return chosen.tokenizer, size


def _compress_pictures(
    source: str,
    tokenizer: "Tokenizer",
    size: "SizePx",
    prior: str | None,
    fps: float | None,
    lanes: int,
    view: "FramesView",
) -> _Made:
    from bitmill.pipeline.compressing.media_streams import compress_pictures, decoded_clips, num_tiles
    from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
    from bitmill.pipeline.isolation.source_events import DecodeSettings
    from bitmill.pipeline.sources.listing import find_sources, refuse_archives
    from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
    from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec

    sources = find_sources(SourceSpec(paths=[source])).sources
    refuse_archives(sources, purpose="compress")
    if len(sources) != 1:
        raise UsageError(f"{source} matches {len(sources)} files; compress takes one image, video or shard.")
    geometry = tokenizer.geometry
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=fps, clip_frames=geometry.most_frames or geometry.usual_frames),
        limits=LimitsSpec(),
        sizes=Buckets((size,)),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    chosen = choose_prior(prior, tokenizer.fingerprint)
    clips = decoded_clips(sources[0], settings)
    num_frames = sum(len(clip.frames_THWC) for clip in clips)
    tiles = num_tiles(geometry, size)
    rows = [_rows(geometry, len(clip.frames_THWC)) for clip in clips]
    grid = geometry.grid(size[0] // tiles, size[1] // tiles)
    tokens = sum(geometry.num_tokens((num_rows, *grid)) for num_rows in rows) * tiles**2
    tokens_bits = tokens * geometry.code.bits_per_token
    view.planned = sum(rows) * tiles**2 if geometry.layout == "grid" else len(clips) * tiles**2
    data, coder = _coded(
        lambda coding: compress_pictures(clips, tokenizer, coding, lanes, on_frames=view.add),
        chosen,
        view,
        bare_bits=None if prior else tokens_bits,
    )
    told = f"{size[0]}²" if size[0] == size[1] else f"{size[0]}×{size[1]}"
    return _Made(
        data=data,
        what=f"{num_frames} frames of {told}" if num_frames > 1 else f"an image of {told}",
        tokens_bits=tokens_bits,
        rate=f", {len(data) * 8 / (num_frames * size[0] * size[1]):.3f} bit/pixel",
        coder=coder,
    )


def _rows(geometry: "Geometry", num_frames: int) -> int:
    return geometry.token_rows(geometry.legal_at_least(num_frames) or num_frames)


def _compress_shard(source: str, prior: str | None, lanes: int, view: "FramesView") -> _Made:
    from bitmill.pipeline.compressing.shard_streams import compress_shard, read_shard

    folder, name = folder_of(source)
    try:
        file = folder.open(name)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"There is no file {source}; check the path.") from error
    with file:
        shard = read_shard(file, origin=source)
    view.planned = shard.num_rows
    chosen = choose_prior(prior, shard.metadata.tokenizer_fingerprint)
    lanes = max(1, min(lanes, len(shard.rows)))
    tokens_bits = max(shard.num_tokens * shard.metadata.bits_per_token, 1)
    data, coder = _coded(
        lambda coding: compress_shard(shard, coding, lanes, origin=source, on_frames=view.add),
        chosen,
        view,
        bare_bits=None if prior else tokens_bits,
    )
    return _Made(
        data=data,
        what=f"a token shard of {counted(len(shard.rows), 'clip')}",
        tokens_bits=tokens_bits,
        coder=coder,
    )


def _coded(
    code: "Callable[[LoadedPrior | None], bytes]",
    prior: "LoadedPrior | None",
    view: "FramesView",
    *,
    bare_bits: int | None,
) -> tuple[bytes, str]:
    """Returns a stream and its coder's name.

    A default prior must not make a stream longer than the uncompressed codes, as it does if it is
    overconfident (frames further apart than in its training data): then the stream is coded without it, if
    that is shorter. ``bare_bits`` is None if the user named the coder.
    """
    data = code(prior)
    if prior is None or bare_bits is None or len(data) * 8 <= bare_bits:
        return data, _coder_text(prior)
    view.planned *= 2
    plain = code(None)
    if len(plain) >= len(data):
        return data, _coder_text(prior)
    return plain, f"{_coder_text(None)} (with the bundled one it would be {bytes_text(len(data))})"


def _coder_text(prior: "LoadedPrior | None") -> str:
    return "without a prior" if prior is None else f"prior {prior.mark.fingerprint[:8]}"
