"""An export's outline: found in its folder, or computed from the shapes of all clips."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_plan, require_card
from bitmill.pipeline.exporting.clip_columns import list_clips
from bitmill.pipeline.exporting.file_boundaries import ContentsSum, PortionCutter
from bitmill.pipeline.exporting.formats.base import Format, clip_shapes, token_counts
from bitmill.pipeline.exporting.progress import ExportProgress
from bitmill.pipeline.removing.removal_records import record_names
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.ids import content_id
from bitmill.schemas.reports.export_inventory import (
    OUTLINE_FILE,
    ExportedDataset,
    ExportFormat,
    ExportOutline,
    OutlinedFile,
    read_outline,
)


@dataclass(frozen=True, kw_only=True)
class DatasetState:
    """A dataset's folder with the committed shards to export, in plan order."""

    folder: Folder
    dataset: ExportedDataset
    shard_ids: tuple[str, ...]


def look_at(folder: Folder, *, allow_incomplete: bool) -> DatasetState:
    """Read a dataset's state. Raises UsageError if it is no dataset, or incomplete and not allowed."""
    card = require_card(folder)
    committed = committed_shards(folder)
    shard_ids = [shard.shard_id for shard in load_plan(folder, card) if shard.shard_id in committed]
    if len(shard_ids) < card.num_shards and not allow_incomplete:
        raise UsageError(
            f"{folder.uri} has {len(shard_ids)} of {card.num_shards} shards; run its job again to finish "
            "it, or export the finished shards with --allow-incomplete."
        )
    # Shards keep their names when clips are removed.
    removals = record_names(folder)
    contents = [card.tokenizer_fingerprint, shard_ids, *([removals] if removals else [])]
    is_1 = card.shard_version == 1
    dataset = ExportedDataset(
        content_id=content_id("exported-dataset", contents),
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        bits_per_token=card.geometry.code.bits_per_token,
        patch_size_px=card.geometry.patch_px[0] if is_1 else None,
        geometry=None if is_1 else card.geometry,
        num_shards=len(shard_ids),
        planned_shards=card.num_shards,
    )
    return DatasetState(folder=folder, dataset=dataset, shard_ids=tuple(shard_ids))


def find_outline(
    out: Folder, dataset: ExportedDataset, export_format: ExportFormat, max_bytes: int
) -> ExportOutline | None:
    """The outline of the same export begun earlier in ``out``; None if the folder is empty or missing.

    Raises OutputConflictError, naming the difference, if it contains anything else.
    """
    try:
        names = out.top_names()
    except NotADirectoryError as error:
        raise OutputConflictError(f"{out.uri} is a file; name a folder for the export.") from error
    if OUTLINE_FILE not in names:
        if names:
            raise OutputConflictError(
                f"{out.uri} is not empty and contains no export (it has no {OUTLINE_FILE}); name another "
                "folder."
            )
        return None
    found = read_outline(out.read_bytes(OUTLINE_FILE), origin=f"{out.uri}/{OUTLINE_FILE}")
    differing = _difference(found, dataset, export_format, max_bytes)
    if differing is not None:
        raise OutputConflictError(
            f"{out.uri} contains another export: {differing}. Name another folder, or repeat the options "
            "of that export."
        )
    return found


def make_outline(
    state: DatasetState,
    name: ExportFormat,
    layout: Format,
    max_bytes: int,
    on_progress: Callable[[ExportProgress], None],
) -> ExportOutline:
    """Cut the dataset into files; calls ``on_progress`` with the number of listed shards.

    Raises UsageError if there are no clips, or the format does not support them.
    """
    cutter = PortionCutter(layout.clips_within(max_bytes))
    total = ContentsSum()

    def look(rows: pa.Table) -> list[tuple[int, tuple[int, int, int], float | None, int]]:
        fps = rows.column("fps").to_pylist()
        counts = token_counts(rows, layout.tokens.geometry)
        return list(zip(layout.clip_sizes(rows), clip_shapes(rows), fps, counts, strict=True))

    for number, clips in enumerate(list_clips(state.folder, state.shard_ids, layout.tokens.columns, look), 1):
        for size, shape_THW, fps, num_tokens in clips:
            cutter.add(size, shape_THW[0], num_tokens)
            total.add(shape_THW, fps, num_tokens)
        on_progress(ExportProgress(listed_shards=number, shards=len(state.shard_ids)))
    contents = total.contents()
    if not contents.clips:
        raise UsageError(f"{state.folder.uri} contains no clips, so there is nothing to export.")
    layout.check(contents)
    portions = cutter.finish()
    files = [
        OutlinedFile(
            name=layout.file_name(number, len(portions)),
            first_clip=portion.first_clip,
            num_clips=portion.num_clips,
            num_frames=portion.num_frames,
            num_tokens=portion.num_tokens,
        )
        for number, portion in enumerate(portions)
    ]
    return ExportOutline(
        format_version=state.dataset.format_version,
        form=name,
        max_bytes=max_bytes,
        dataset=state.dataset,
        contents=contents,
        files=files,
    )


def _difference(
    found: ExportOutline, dataset: ExportedDataset, export_format: ExportFormat, max_bytes: int
) -> str | None:
    if found.form != export_format:
        return f"its format is {found.form}, not {export_format}"
    if found.dataset.tokenizer_fingerprint != dataset.tokenizer_fingerprint:
        return "it belongs to a dataset of another tokenizer"
    if found.dataset.content_id != dataset.content_id:
        return "it belongs to another dataset, or to this one with other shards or clips"
    if found.max_bytes != max_bytes:
        return f"its files were cut at {found.max_bytes} bytes, not {max_bytes}"
    return None
