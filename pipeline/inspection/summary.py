"""Summarises a dataset or a token shard from its files, for ``bitmill inspect``."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_ledger, load_plan, require_card
from bitmill.pipeline.dataset.ledger import LedgerRow, totals_of
from bitmill.pipeline.reading.index.footers import damage_named, index_rows, num_threads, open_shard
from bitmill.pipeline.storage import Folder, store_errors
from bitmill.schemas.dataset.card import DatasetCard, Totals
from bitmill.schemas.dataset.token_shard import ShardMetadata, read_shard_metadata
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.requests.frames import FrameSpec

CLIP_COLUMNS = ("clip_id", "source", "key", "start_ns", "end_ns", "num_frames", "height", "width", "metadata")


@dataclass(frozen=True, kw_only=True)
class ShardView:
    """A token shard: its schema, metadata, sizes and first clips."""

    file: str
    metadata: ShardMetadata
    schema: pa.Schema
    num_clips: int
    num_row_groups: int
    file_bytes: int
    code_bytes: int
    """Stored size of the codes column."""
    clips: list[dict[str, Any]]


@dataclass(kw_only=True)
class SizeView:
    """Counts of the clips whose frames have one size."""

    clips: int = 0
    token_rows: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class DatasetView:
    """A dataset: its card, committed shards, totals, and items that are not ok."""

    card: DatasetCard
    committed: int
    totals: Totals
    not_ok: list[LedgerRow]
    sizes: dict[SizePx, SizeView]
    """By frame size, most clips first; of a job of squares, which has one, empty."""
    clips: list[dict[str, Any]]


def view_shard(uri: str, *, max_clips: int) -> ShardView:
    """Read one token shard file. Raises UsageError if it is missing, FormatError if damaged."""
    folder_uri, name = uri.rsplit("/", 1)
    try:
        with store_errors(uri), damage_named(uri), Folder(folder_uri).open(name) as handle:
            file = pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)
            metadata = read_shard_metadata(file.schema_arrow, origin=uri)
            footer = file.metadata
            place = file.schema_arrow.get_field_index("codes")
            handle.seek(0, 2)
            return ShardView(
                file=uri,
                metadata=metadata,
                schema=file.schema_arrow,
                num_clips=footer.num_rows,
                num_row_groups=footer.num_row_groups,
                file_bytes=handle.tell(),
                code_bytes=sum(
                    footer.row_group(group).column(_leaf(file, place)).total_compressed_size
                    for group in range(footer.num_row_groups)
                ),
                clips=_first_clips(file, max_clips),
            )
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"There is no token shard at {uri}.") from error


def view_dataset(folder: Folder, *, max_clips: int, max_not_ok: int) -> DatasetView:
    """Read a dataset folder; counts come from the ledgers of the committed shards."""
    card = require_card(folder)
    committed = committed_shards(folder)
    shards = [shard for shard in load_plan(folder, card) if shard.shard_id in committed]
    newest = NewestAttempts(shards)
    totals, not_ok, clips = Totals(), list[LedgerRow](), list[dict[str, Any]]()
    for shard_id in (shard.shard_id for shard in shards):
        rows = newest.counting(load_ledger(folder, shard_id))
        totals += totals_of(rows)
        not_ok.extend(row for row in rows if row["reason"] is not None and len(not_ok) < max_not_ok)
        if len(clips) < max_clips:
            with open_shard(folder, shard_id) as file:
                clips.extend(_first_clips(file, max_clips - len(clips)))
    is_square = FrameSpec.model_validate(card.job.get("frames", {})).is_square
    sizes = {} if is_square else _sizes(folder, card, [shard.shard_id for shard in shards])
    return DatasetView(
        card=card, committed=len(shards), totals=totals, not_ok=not_ok[:max_not_ok], sizes=sizes, clips=clips
    )


def _sizes(folder: Folder, card: DatasetCard, shard_ids: list[str]) -> dict[SizePx, SizeView]:
    """Counts by frame size, from the shards' footers and columns of shapes."""
    found: dict[SizePx, SizeView] = {}
    with ThreadPoolExecutor(num_threads(folder)) as pool:
        groups = pool.map(lambda one: index_rows(folder, one, card.tokenizer_fingerprint), shard_ids)
        runs = (_runs_of(group) for shard in groups for group in shard)
        for clips, rows, height, width in (run for group in runs for run in group):
            view = found.setdefault(_size_of(card.geometry, height, width), SizeView())
            view.clips += clips
            view.token_rows += clips * rows
            view.tokens += clips * card.geometry.num_tokens((rows, height, width))
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].clips, pair[0])))


def _runs_of(group: dict[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    return zip(*(group[f"run_{name}"] for name in ("rows", "frames", "height", "width")), strict=True)


def _size_of(geometry: Geometry, height: int, width: int) -> SizePx:
    return height * geometry.patch_px[0], width * geometry.patch_px[1]


def _first_clips(file: pq.ParquetFile, count: int) -> list[dict[str, Any]]:
    clips: list[dict[str, Any]] = []
    for group in range(file.metadata.num_row_groups):
        if len(clips) >= count:
            break
        table = file.read_row_group(group, columns=list(CLIP_COLUMNS))
        clips.extend(table.slice(0, count - len(clips)).to_pylist())
    return clips


def _leaf(file: pq.ParquetFile, place: int) -> int:
    """Returns the Parquet column index of a top-level field; lists have one leaf here, so indices agree."""
    path = file.metadata.schema.column(place).path
    if path != "codes":
        raise FormatError(f"column {place} is {path}, not codes")
    return place
