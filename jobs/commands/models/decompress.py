"""``bitmill decompress``: restores an image, a video or a token shard from a compressed stream."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.commands.models.stream_files import (
    SHARD_SUFFIX,
    FramesView,
    PriorOption,
    SizedTokenizer,
    TokenizerOption,
)
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import check_suffix, folder_of, publish, suffix_of
from bitmill.jobs.preparation.models.find_token_models import choose_prior
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.pipeline.compressing.clip_streams import LoadedPrior, RestoredClip
    from bitmill.pipeline.compressing.media_streams import RestoredPictures
    from bitmill.schemas.stream.compressed import CompressedStream


def decompress(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file written by compress (.bmz).")],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="For an image: .png. For a video: .mkv (lossless) or .mp4. For a shard: .parquet.",
        ),
    ],
    tokenizer: TokenizerOption = "small-1",
    prior: PriorOption = None,
    salvage: Annotated[
        bool,
        typer.Option(
            "--salvage", help="Restore what is readable of a damaged stream, and list what is lost."
        ),
    ] = False,
) -> None:
    """Restore compressed files: images and videos as reconstructed by the tokenizer, shards exactly."""
    from bitmill.schemas.stream.compressed import CompressedStream
    from bitmill.schemas.stream.stream_header import StreamKind

    stream = CompressedStream(_read(source), origin=source, salvage=salvage)
    console = Console(soft_wrap=True)
    with FramesView(console, "decoded") as view:
        header = stream.header
        view.planned = sum(header.coded_shape(clip)[0] for clip in header.clips)
        chosen = choose_prior(prior, header.tokenizer_fingerprint) if header.prior is not None else None
        asked = _Restoring(stream, source, out, chosen, salvage, view.add)
        if stream.header.kind is StreamKind.TOKEN_SHARD:
            kept, lost = _restore_shard(asked)
        else:
            kept, lost = _restore_pictures(asked, tokenizer)
    num_frames = sum(clip.num_frames for clip in header.clips) // header.tiles**2
    console.print(f"wrote {out}: {kept} of {counted(num_frames, 'frame')}")
    for sentence in lost:
        console.print(f"lost       {sentence}")
    raise typer.Exit(EXIT_NOT_ALL_OK if lost else EXIT_COMPLETE)


@dataclass(frozen=True)
class _Restoring:
    """The parameters of a decompression."""

    stream: "CompressedStream"
    origin: str
    out: str
    prior: "LoadedPrior | None"
    salvage: bool
    on_frames: Callable[[int], None]


def _restore_pictures(asked: _Restoring, tokenizer: str) -> tuple[int, list[str]]:
    """Returns the number of frames written, and a sentence per lost part."""
    from bitmill.pipeline.compressing.media_streams import restore_pictures
    from bitmill.pipeline.compressing.write_media import WRITERS

    check_suffix(asked.out, tuple(WRITERS))
    header = asked.stream.header
    restored = restore_pictures(
        asked.stream,
        _tokenizer_of(stream=asked.stream, name=tokenizer),
        asked.prior,
        origin=asked.origin,
        salvage=asked.salvage,
        on_frames=asked.on_frames,
    )
    frames = [clip.frames_THWC for clip in restored if len(clip.frames_THWC)]
    if not frames:
        raise FormatError(f"Nothing in {asked.origin} can be restored.")
    write = WRITERS[suffix_of(asked.out)]
    publish(asked.out, lambda path: write(frames, header.fps, path))
    return sum(map(len, frames)), _lost_parts(restored, header.tiles)


def _tokenizer_of(stream: "CompressedStream", name: str) -> "Tokenizer":
    """Returns the named tokenizer, for the stream's tile size if it is a BSQ-ViT."""
    from bitmill.bsq_model import BSQTokenizer

    chosen, header = SizedTokenizer(name), stream.header
    if not header.clips or not isinstance(chosen.tokenizer, BSQTokenizer):
        return chosen.tokenizer
    (down, across), first = header.geometry.patch_px, header.clips[0]
    return chosen.resized((first.height * down, first.width * across))


def _lost_parts(restored: "list[RestoredPictures]", tiles: int) -> list[str]:
    lost, first = list[str](), 1
    for clip in restored:
        shown, end = len(clip.frames_THWC), first + clip.num_frames - 1
        if shown < clip.num_frames:
            lost.append(f"frames {first + shown} to {end}")
        for number, kept in enumerate(clip.tile_frames):
            if kept < shown:
                row, column = divmod(number, tiles)
                where = f"row {row + 1}, column {column + 1}"
                since = f" in frames {first + kept} to {first + shown - 1}" if shown > 1 else ""
                lost.append(f"the tile of {where}{since}: grey")
        first = end + 1
    return lost


def _restore_shard(asked: _Restoring) -> tuple[int, list[str]]:
    """Returns the same as ``_restore_pictures``."""
    from bitmill.pipeline.compressing.shard_streams import lost_ids, restore_shard

    check_suffix(asked.out, (SHARD_SUFFIX,))
    clips: list[RestoredClip] = []

    def write(path: Path) -> None:
        clips.extend(
            restore_shard(
                asked.stream,
                asked.prior,
                path,
                origin=asked.origin,
                salvage=asked.salvage,
                on_frames=asked.on_frames,
            )
        )

    publish(asked.out, write)
    kept = sum(clip.place.num_frames for clip in clips if clip.complete)
    return kept, [f"clip {name}" for name in lost_ids(clips, asked.stream.header)]


def _read(source: str) -> bytes:
    folder, name = folder_of(source)
    try:
        return folder.read_bytes(name)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"There is no file {source}; check the path.") from error
