"""Sums up a dataset's ledgers, counting each source once, by its newest attempt."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.dataset_folder import committed_ledgers, load_ledger
from bitmill.pipeline.dataset.ledger import check_accounts, totals_of
from bitmill.pipeline.dataset.totals_cache import are_totals_of
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals, ledger_file
from bitmill.schemas.dataset.plan_schema import PlannedShard

_LEDGER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Totals of the committed shards."""

    totals: Totals
    """Without the superseded rows of retried items."""
    of_shards: dict[str, Totals]
    """Totals by shard id, over all rows of each ledger."""


def committed_accounts(
    folder: Folder,
    plan: Sequence[PlannedShard],
    committed: Collection[str],
    remembered: Mapping[str, Totals] | None = None,
) -> Accounts:
    """Sum up the ledgers of committed shards, reading those whose totals are not ``remembered``.

    A ledger is also read if some of its items are planned again. Each ledger that is read is checked against
    its shard. Raises FormatError if a ledger is missing, or if one that is read is damaged or another
    shard's.
    """
    newest = NewestAttempts(plan)
    there = [shard for shard in plan if shard.shard_id in committed]
    known = _usable(remembered or {}, there, newest)
    if known:
        # Reading reports a missing ledger.
        known = {name: known[name] for name in known.keys() & committed_ledgers(folder)}

    def read(shard: PlannedShard) -> tuple[str, Totals, Totals]:
        rows = load_ledger(folder, shard.shard_id)
        check_accounts(rows, shard, origin=f"{folder.uri}/{ledger_file(shard.shard_id)}")
        return shard.shard_id, totals_of(rows), totals_of(newest.counting(rows))

    with ThreadPoolExecutor(_LEDGER_THREADS) as pool:
        found = list(pool.map(read, (shard for shard in there if shard.shard_id not in known)))
    return Accounts(
        totals=Totals.sum([*known.values(), *(counting for _, _, counting in found)]),
        of_shards=known | {name: whole for name, whole, _ in found},
    )


def committed_totals(
    folder: Folder,
    plan: Sequence[PlannedShard],
    committed: Collection[str],
    remembered: Mapping[str, Totals] | None = None,
) -> Totals:
    """Returns the totals of ``committed_accounts``."""
    return committed_accounts(folder, plan, committed, remembered).totals


def _usable(
    remembered: Mapping[str, Totals], shards: Iterable[PlannedShard], newest: NewestAttempts
) -> dict[str, Totals]:
    return {
        shard.shard_id: totals
        for shard in shards
        if (totals := remembered.get(shard.shard_id)) is not None
        and are_totals_of(totals, shard)
        and newest.all_count(shard)
    }
