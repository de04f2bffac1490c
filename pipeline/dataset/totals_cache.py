"""Cache of committed shards' totals in the dataset folder, so that resuming need not read every ledger.

It is derived from ledgers, which never change once their shard is committed; the file may be missing,
outdated, damaged or deleted at any time, and is then rebuilt.
"""

import json
from collections.abc import Mapping

from bitmill.pipeline.dataset.parquet_tables import read_table, table_bytes
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.shard_totals import TOTALS_FILE, TOTALS_FORMAT_VERSION, TOTALS_SCHEMA
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json

_COUNTS = ("ok", "partial", "failed", "clips", "frames", "tokens", "code_bytes", "tokenized_ns")


def remembered_totals(folder: Folder) -> dict[str, Totals]:
    """Returns cached totals over all rows of a ledger, by shard id; empty if the file cannot be used.

    Raises TransientError if the store fails.
    """
    try:
        data = folder.read_bytes(TOTALS_FILE)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    try:
        return parse_totals(data)
    except FormatError:
        return {}


def remember_totals(folder: Folder, totals: Mapping[str, Totals]) -> None:
    """Rewrite the file. Raises the errors of publishing."""
    folder.write_bytes(TOTALS_FILE, totals_bytes(totals))


def totals_bytes(totals: Mapping[str, Totals]) -> bytes:
    """Returns the file's bytes, with rows sorted by shard id."""
    ordered = sorted(totals.items())
    columns = {name: [getattr(one, name) for _, one in ordered] for name in _COUNTS}
    reasons = [canonical_json(one.reasons) if one.reasons else "{}" for _, one in ordered]
    ids = [shard_id for shard_id, _ in ordered]
    return table_bytes({"shard_id": ids, **columns, "reasons": reasons}, TOTALS_SCHEMA)


def parse_totals(data: bytes) -> dict[str, Totals]:
    """Parse the file's bytes. Raises FormatError on damage or a newer version."""
    rows = read_table(data, TOTALS_SCHEMA, what=TOTALS_FILE, version=TOTALS_FORMAT_VERSION)
    try:
        return {
            row["shard_id"]: Totals(
                **{name: row[name] for name in _COUNTS},
                reasons={} if row["reasons"] == "{}" else json.loads(row["reasons"]),
            )
            for row in rows
        }
    except ValueError as error:
        raise FormatError(f"{TOTALS_FILE} is damaged: a row has no totals.") from error


def are_totals_of(totals: Totals, shard: PlannedShard) -> bool:
    """Whether totals can be the shard's: each source is one item, and only tars contain several."""
    planned = len(shard.sources)
    return totals.items == planned or (
        totals.items > planned and any(source.is_archive for source in shard.sources)
    )
