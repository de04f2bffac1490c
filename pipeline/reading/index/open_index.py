"""Opens a dataset's index: reads index.parquet, or builds it from footers and publishes it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc

from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_plan
from bitmill.pipeline.reading.index.footers import index_rows, num_threads
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.index_file import index_bytes, index_of, parse_index, rows_table
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.reading_index import INDEX_FILE
from bitmill.schemas.errors import BitmillError, FormatError, UsageError
from bitmill.schemas.ids import content_id

_SHARDS_A_TABLE = 1024


def open_index(folder: Folder, card: DatasetCard, *, allow_incomplete: bool) -> ReadingIndex:
    """The index of a dataset's committed shards, in plan order.

    If ``index.parquet`` covers the whole plan, reads nothing else. Otherwise reads the footers of missing
    shards and publishes the file again if the folder is writable. Raises UsageError for an unfinished dataset
    unless allowed, FormatError or TokenizerMismatchError for an invalid shard.
    """
    plan = content_id("plan", [part.plan_id for part in card.plan])
    stored, stored_plan = _stored(folder, card.tokenizer_fingerprint)
    if stored is not None and stored_plan == plan:
        return index_of(stored)
    shard_ids = _readable(folder, card, allow_incomplete=allow_incomplete)
    table = _completed(folder, card, stored, shard_ids)
    complete = plan if len(shard_ids) == card.num_shards else ""
    if stored is None or stored_plan != complete or not table.equals(stored):
        data = index_bytes(table, plan=complete, tokenizer_fingerprint=card.tokenizer_fingerprint)
        with suppress(BitmillError, OSError):
            folder.write_bytes(INDEX_FILE, data)
    return index_of(table)


def _stored(folder: Folder, tokenizer_fingerprint: str) -> tuple[pa.Table | None, str]:
    """The stored table and the plan that it fully covers; None and "" if the file cannot be used."""
    try:
        table, plan, tokenizer = parse_index(folder.read_bytes(INDEX_FILE))
    except (FileNotFoundError, FormatError):
        return None, ""
    return (table, plan) if tokenizer == tokenizer_fingerprint else (None, "")


def _readable(folder: Folder, card: DatasetCard, *, allow_incomplete: bool) -> list[str]:
    """Committed shards of the plan, in plan order; other files in the folder are ignored."""
    planned = [shard.shard_id for shard in load_plan(folder, card)]
    committed = committed_shards(folder)
    found = [shard_id for shard_id in planned if shard_id in committed]
    if len(found) < len(planned) and not allow_incomplete:
        raise UsageError(
            f"{folder.uri} has {len(found)} of {len(planned)} shards; run its job again to finish it, or "
            "pass allow_incomplete=True to read the finished shards."
        )
    return found


def _completed(
    folder: Folder, card: DatasetCard, stored: pa.Table | None, shard_ids: Sequence[str]
) -> pa.Table:
    """Rows of these shards, in this order: stored rows, and rows read from footers for the others."""
    known = set(stored.column("shard_id").to_pylist()) if stored is not None else set[str]()
    missing = [shard_id for shard_id in shard_ids if shard_id not in known]
    tables = [rows_table([])]
    with ThreadPoolExecutor(num_threads(folder)) as pool:
        read = pool.map(lambda one: index_rows(folder, one, card.tokenizer_fingerprint), missing)
        # A table with few rows takes a hundred times their bytes, so rows are collected first.
        while some := list(islice(read, _SHARDS_A_TABLE)):
            tables.append(rows_table(chain.from_iterable(some)))
    if stored is not None:
        tables.append(stored.replace_schema_metadata(None))
    table = pa.concat_tables(tables)
    place = pc.index_in(table.column("shard_id"), value_set=pa.array(shard_ids, pa.string()))
    table = table.append_column("place", place).filter(pc.is_valid(place))
    return table.sort_by([("place", "ascending"), ("row_group", "ascending")]).drop_columns(["place"])
