"""Checks a shard's ledger against its plan and itself, and extracts its account of each item."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.dataset.attempts import place_of
from bitmill.pipeline.dataset.ledger import LedgerRow, account_faults
from bitmill.schemas.dataset.card import ledger_file
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.outcomes import Outcome
from bitmill.schemas.reports.audit_findings import Kind

ItemKey = tuple[int, str | None]
"""An item of a shard: the index of its source in the shard, and its key."""


@dataclass
class ItemSums:
    """Sums over the clips of one item."""

    clips: int = 0
    frames: int = 0
    tokens: int = 0
    code_bytes: int = 0
    tokenized_ns: int = 0


@dataclass
class ItemAccount:
    """What a ledger says about one item."""

    order: int
    """The number of its first row in the ledger."""
    sums: ItemSums
    is_ok: bool
    media: str | None
    fps: float | None
    duration_ns: int | None


def check_ledger(rows: Sequence[LedgerRow], shard: PlannedShard, found: FindingTally) -> bool:
    """Note a ledger's defects; true if it belongs to the shard, so that its rows can be used."""
    file = ledger_file(shard.shard_id)
    others = sorted({row["shard_id"] for row in rows} - {shard.shard_id})
    if others:
        found.note(Kind.WRONG_SHARD, f"it contains rows of shard {others[0]}", file=file)
        return False
    faults = [f"the ledger {fault}" for fault in account_faults(rows, shard)]
    for row in rows:
        place = row["source_index"] - shard.first_source_index
        if 0 <= place < len(shard.sources) and shard.sources[place].place != place_of(row):
            planned = shard.sources[place].uri
            faults.append(f"a row of {row['source']} stands for {planned}, or for another span of it")
    for fault in faults:
        found.note(Kind.ACCOUNTS, fault, file=file)
    if faults:
        return False
    _check_rows(rows, file, found)
    return True


def _check_rows(rows: Sequence[LedgerRow], file: str, found: FindingTally) -> None:
    before = -1
    for row in rows:
        if row["source_index"] < before:
            found.note(Kind.OUT_OF_ORDER, "a row follows later sources", file=file, where=row["source"])
        before = row["source_index"]
        if row["outcome"] != _outcome(row):
            reason = row["reason"] or "no reason"
            found.note(
                Kind.COUNTS_DIFFER,
                f"the outcome is {row['outcome']}, but it has {reason} and {row['num_clips']} clips",
                file=file,
                where=item_name(row["source"], row["key"]),
            )


def _outcome(row: LedgerRow) -> Outcome:
    if row["reason"] is None:
        return Outcome.OK
    return Outcome.PARTIAL if row["num_clips"] else Outcome.FAILED


def item_accounts(rows: Sequence[LedgerRow], shard: PlannedShard) -> dict[ItemKey, ItemAccount]:
    """A ledger's accounts by item. Rows with one key (a repeated tar member, without clips) are one item."""
    accounts: dict[ItemKey, ItemAccount] = {}
    for order, row in enumerate(rows):
        item = (row["source_index"] - shard.first_source_index, row["key"])
        account = accounts.get(item)
        if account is None:
            account = accounts[item] = ItemAccount(
                order=order,
                sums=ItemSums(),
                is_ok=row["outcome"] == Outcome.OK,
                media=row["media"],
                fps=row["source_fps"],
                duration_ns=row["duration_ns"],
            )
        sums = account.sums
        sums.clips += row["num_clips"]
        sums.frames += row["num_frames"]
        sums.tokens += row["num_tokens"]
        sums.code_bytes += row["code_bytes"]
        sums.tokenized_ns += row["tokenized_ns"]
    return accounts


def item_name(source: str, key: str | None) -> str:
    """A displayable name: the item's source, followed by the member's name."""
    return source if key is None else f"{source} {key}"
