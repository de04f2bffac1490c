"""Ledger rows: made from an item's end, written as a file, summed up as totals."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bitmill.pipeline.dataset.parquet_tables import read_table, table_bytes
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.ledger_schema import LEDGER_FORMAT_VERSION, LEDGER_SCHEMA
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import FormatError
from bitmill.schemas.outcomes import Outcome

LedgerRow = dict[str, Any]
"""One row by LEDGER_SCHEMA's column names."""


def ledger_bytes(rows: Sequence[LedgerRow]) -> bytes:
    """Rows as a Parquet file."""
    return table_bytes({name: [row[name] for row in rows] for name in LEDGER_SCHEMA.names}, LEDGER_SCHEMA)


def read_ledger(data: bytes, *, origin: str) -> list[LedgerRow]:
    """Rows of a ledger file. Raises FormatError, naming ``origin``, where it cannot be read."""
    return read_table(data, LEDGER_SCHEMA, what=f"The ledger {origin}", version=LEDGER_FORMAT_VERSION)


def check_accounts(rows: Sequence[LedgerRow], shard: PlannedShard, *, origin: str) -> None:
    """Raise FormatError, naming ``origin``, where a source has no row there, or a plain one several."""
    for fault in account_faults(rows, shard):
        raise FormatError(f"The ledger {origin} {fault}; it is damaged.")


def account_faults(rows: Sequence[LedgerRow], shard: PlannedShard) -> Iterator[str]:
    """What a ledger lacks of its shard's sources, or has too much; each completes "The ledger …"."""
    counts = Counter(row["source_index"] for row in rows)
    for place, source in enumerate(shard.sources):
        count = counts.pop(shard.first_source_index + place, 0)
        if not count or (count > 1 and not source.is_archive):
            yield f"has {count} rows of {source.uri}"
    if counts:
        yield f"has {counts.total()} rows of sources that its shard does not hold"


def totals_of(rows: Sequence[LedgerRow]) -> Totals:
    """Sums over ledger rows."""
    outcomes = [row["outcome"] for row in rows]
    reasons = [row["reason"] for row in rows if row["reason"] is not None]
    return Totals(
        ok=outcomes.count(Outcome.OK),
        partial=outcomes.count(Outcome.PARTIAL),
        failed=outcomes.count(Outcome.FAILED),
        clips=sum(row["num_clips"] for row in rows),
        frames=sum(row["num_frames"] for row in rows),
        tokens=sum(row["num_tokens"] for row in rows),
        code_bytes=sum(row["code_bytes"] for row in rows),
        tokenized_ns=sum(row["tokenized_ns"] for row in rows),
        reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
    )
