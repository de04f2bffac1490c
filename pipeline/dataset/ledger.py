"""Ledger rows: writes, reads, checks and sums them up."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bitmill.pipeline.dataset.parquet_tables import read_table, table_bytes
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.ledger_schema import LEDGER_FORMAT_VERSION, LEDGER_SCHEMA, LEDGER_SCHEMA_4
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import FormatError
from bitmill.schemas.outcomes import Outcome

LedgerRow = dict[str, Any]
"""One row, by LEDGER_SCHEMA's column names; rows of version 4 and before lack ``num_dropped_frames``."""


def ledger_bytes(rows: Sequence[LedgerRow]) -> bytes:
    """Returns rows, all of one version, as the bytes of a Parquet file of that version."""
    is_older = bool(rows) and "num_dropped_frames" not in rows[0]
    schema = LEDGER_SCHEMA_4 if is_older else LEDGER_SCHEMA
    return table_bytes({name: [row[name] for row in rows] for name in schema.names}, schema)


def read_ledger(data: bytes, *, origin: str) -> list[LedgerRow]:
    """Returns the rows of a ledger file. Raises FormatError, naming ``origin``, if it cannot be read."""
    return read_table(
        data,
        LEDGER_SCHEMA,
        what=f"The ledger {origin}",
        version=LEDGER_FORMAT_VERSION,
        older={4: LEDGER_SCHEMA_4},
    )


def check_accounts(rows: Sequence[LedgerRow], shard: PlannedShard, *, origin: str) -> None:
    """Raise FormatError, naming ``origin``, if a source has no row, or a plain source several."""
    for fault in account_faults(rows, shard):
        raise FormatError(f"The ledger {origin} {fault}; it is damaged.")


def account_faults(rows: Sequence[LedgerRow], shard: PlannedShard) -> Iterator[str]:
    """Yields missing and surplus rows of a ledger, as phrases that complete "The ledger …"."""
    counts = Counter(row["source_index"] for row in rows)
    for place, source in enumerate(shard.sources):
        count = counts.pop(shard.first_source_index + place, 0)
        if not count or (count > 1 and not source.is_archive):
            yield f"has {count} rows of {source.uri}"
    if counts:
        yield f"has {counts.total()} rows of sources that its shard does not hold"


def totals_of(rows: Sequence[LedgerRow]) -> Totals:
    """Returns sums over ledger rows."""
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
