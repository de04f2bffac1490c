"""What a dataset holds by its ledgers: each source once, by its newest attempt."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.dataset_folder import load_ledger
from pipeline.shard.ledger import check_accounts, totals_of
from pipeline.shard.newest import NewestAttempts
from pipeline.storage import Folder
from schemas.dataset import Totals, ledger_file
from schemas.plan import PlannedShard

_LEDGER_THREADS = 16


def committed_totals(folder: Folder, plan: Sequence[PlannedShard], committed: Collection[str]) -> Totals:
    """Totals over the ledgers of committed shards, less the items that the plan does again.

    Each ledger is checked against its shard. Raises FormatError where one is missing, damaged or not its
    shard's.
    """
    newest = NewestAttempts(plan)

    def totals(shard: PlannedShard) -> Totals:
        rows = load_ledger(folder, shard.shard_id)
        check_accounts(rows, shard, origin=f"{folder.uri}/{ledger_file(shard.shard_id)}")
        return totals_of(newest.counting(rows))

    with ThreadPoolExecutor(_LEDGER_THREADS) as pool:
        return sum(pool.map(totals, (s for s in plan if s.shard_id in committed)), start=Totals())
