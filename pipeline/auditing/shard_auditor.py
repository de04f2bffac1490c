"""Audits shards one by one: ledger, token shard, and the coverage that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bitmill.pipeline.auditing.coverage.tally import CoverageLayout, CoverageTally
from bitmill.pipeline.auditing.result import ShardAtHand, ShardsAudit
from bitmill.pipeline.auditing.shard.check_ledger import (
    ItemAccount,
    ItemKey,
    check_ledger,
    item_accounts,
    item_name,
)
from bitmill.pipeline.auditing.shard.check_metadata import metadata_faults
from bitmill.pipeline.auditing.shard.check_rows import RowCheck
from bitmill.pipeline.auditing.shard.collector_protocol import Collectors
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.auditing.shard.read_shard import OpenShard, damage_cause, damage_kind, open_whole
from bitmill.pipeline.dataset.attempts import NewestAttempts, place_of
from bitmill.pipeline.dataset.ledger import LedgerRow, read_ledger, totals_of
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.removing.check_removed import RemovedClips
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import shard_id
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.reports.audit_findings import KIND_SEVERITY, Kind, Severity


@dataclass(frozen=True, kw_only=True)
class ShardAuditor:
    """Audits shards of one dataset. Contains what all files must have in common. Picklable."""

    folder: Folder
    metadata: ShardMetadata
    """Of every shard, but for its id."""
    geometry: Geometry
    """The tokenizer's."""
    sizes: FrameSizes
    """That the job asks for."""
    sampling_rule: dict[str, Any]
    over_committed: NewestAttempts
    """The attempts that count now."""
    over_plan: NewestAttempts
    """The attempts that will count once everything is committed."""
    removed: RemovedClips
    """Clips that were removed and must not exist."""
    layout: CoverageLayout
    collectors: Collectors = field(default_factory=dict)

    def empty(self) -> ShardsAudit:
        """The audit of no shards."""
        collected = {name: make() for name, make in self.collectors.items()}
        return ShardsAudit(coverage=CoverageTally(self.layout), collected=collected)

    def audit(self, shards: Sequence[ShardAtHand]) -> ShardsAudit:
        """Audit consecutive shards. Raises the store's errors if it fails."""
        audit = self.empty()
        for shard in shards:
            _ShardRun(self, shard, audit).run()
        return audit


class _ShardRun:
    """The audit of one shard, added to the result of earlier ones."""

    def __init__(self, auditor: ShardAuditor, shard: ShardAtHand, audit: ShardsAudit) -> None:
        self._auditor = auditor
        self._at_hand = shard
        self._shard = shard.planned
        self._audit = audit
        self._found = FindingTally()
        self._metadata: dict[tuple[str, str | None], str] = {}
        """Metadata of items' first clips by source and key, if coverage needs metadata."""

    def run(self) -> None:
        self._audit.planned += 1
        self._check_name()
        if not self._at_hand.has_shard:
            self._pending()
        else:
            self._committed()
        self._audit.found.merge(self._found)

    def _check_name(self) -> None:
        """Check that the shard's name matches its content, which detects changed plan rows."""
        shard = self._shard
        ids = [source.id for source in shard.sources]
        if shard_id(self._auditor.metadata.job_fingerprint, ids, shard.attempt) != shard.shard_id:
            self._found.note(
                Kind.MISSING_PLAN,
                "the shard's name is not the hash of its planned sources",
                where=shard.shard_id,
            )

    def _pending(self) -> None:
        self._audit.totals_known = False
        self._audit.steps.add_pending(self._shard)
        name, count = self._shard.shard_id, f"{len(self._shard.sources)} sources"
        if self._at_hand.has_ledger:
            self._found.note(Kind.MISSING_SHARD, f"its {count} are only in the ledger", file=shard_file(name))
        else:
            self._found.note(Kind.PENDING_SHARD, f"{count} not processed yet", file=shard_file(name))
        self._add_pending_sources()

    def _add_pending_sources(self) -> None:
        """Count sources that are in neither this ledger nor the ledger of a newer attempt."""
        if self._shard.attempt > 1 and not self._at_hand.has_shard:
            # They are counted where they were first planned, or at a committed attempt.
            return
        for source in self._shard.sources:
            if self._auditor.over_committed.counts_in(source.place, self._shard.shard_id):
                self._audit.coverage.add_pending(source)

    def _committed(self) -> None:
        self._audit.committed += 1
        ledger = self._ledger()
        self._audit.read += self._read_shard(None if ledger is None else item_accounts(ledger, self._shard))
        if any(KIND_SEVERITY[kind] is Severity.DAMAGED for kind in self._found.counts):
            self._audit.steps.add_damaged(self._shard)
        if ledger is None or Kind.COUNTS_DIFFER in self._found:
            self._audit.totals_known = False
        if ledger is None:
            self._add_pending_sources()
        else:
            self._cover(ledger)

    def _ledger(self) -> list[LedgerRow] | None:
        """The ledger's rows, or None if they do not belong to this shard."""
        name = ledger_file(self._shard.shard_id)
        try:
            rows = read_ledger(self._auditor.folder.read_bytes(name), origin=name)
        except FileNotFoundError:
            self._found.note(Kind.MISSING_LEDGER, "the token shard exists without it", file=name)
            return None
        except FormatError as error:
            self._found.note(damage_kind(error), str(error), file=name)
            return None
        return rows if check_ledger(rows, self._shard, self._found) else None

    def _read_shard(self, accounts: Mapping[ItemKey, ItemAccount] | None) -> bool:
        """Read the token shard; true if it was fully readable, even if its rows have findings."""
        try:
            with open_whole(self._auditor.folder, self._shard, self._found) as opened:
                metadata = opened.metadata()
                if metadata is not None and self._is_own(metadata):
                    self._read_rows(opened, metadata, accounts)
        except FileNotFoundError:
            file = shard_file(self._shard.shard_id)
            self._found.note(Kind.MISSING_SHARD, "it was deleted during the audit", file=file)
            return False
        except FormatError as error:
            self._found.note(damage_kind(error), damage_cause(error), file=shard_file(self._shard.shard_id))
        return not any(kind in self._found for kind in _NOT_WHOLE)

    def _is_own(self, metadata: ShardMetadata) -> bool:
        """True if a file belongs to this shard, whichever job made it."""
        file = shard_file(self._shard.shard_id)
        if metadata.shard_id != self._shard.shard_id:
            self._found.note(Kind.WRONG_SHARD, f"it contains shard {metadata.shard_id}", file=file)
            return False
        for kind, detail in metadata_faults(metadata, self._auditor.metadata):
            self._found.note(kind, detail, file=file)
        return True

    def _read_rows(
        self, opened: OpenShard, metadata: ShardMetadata, accounts: Mapping[ItemKey, ItemAccount] | None
    ) -> None:
        auditor, audit = self._auditor, self._audit
        own_code = Kind.WRONG_TOKENIZER not in self._found
        check = RowCheck(
            self._shard,
            accounts,
            self._found,
            sampling_rule=auditor.sampling_rule,
            bits_per_token=metadata.bits_per_token,
            geometry=auditor.geometry if own_code else None,
            sizes=auditor.sizes,
            check_ids=metadata.job_fingerprint == auditor.metadata.job_fingerprint,
        )
        for group in opened.groups(metadata):
            if group.table is None:
                check.skip(group.num_rows)
                continue
            check.add(group, group.table)
            self._check_removed(group.table)
            audit.coverage.add_clips(group.table, group.num_tokens)
            audit.clips += group.num_rows
            self._note_metadata(group.table)
            if group.data is not None and own_code:
                audit.code_bytes += len(group.data.codes)
                for collector in audit.collected.values():
                    collector.add(group.data)
        check.finish()

    def _check_removed(self, table: pa.Table) -> None:
        """Note clips that still exist although a removal record lists them."""
        ids: list[Any] = table.column("clip_id").to_pylist()
        sources: list[Any] = table.column("source").to_pylist()
        keys: list[Any] = table.column("key").to_pylist()
        file = shard_file(self._shard.shard_id)
        for row in self._auditor.removed.still_there(self._shard.shard_id, ids, sources, keys):
            where = item_name(sources[row], keys[row])
            self._found.note(Kind.REMOVED_STILL_THERE, f"clip {ids[row]}", file=file, where=where)

    def _check_superseded(self, ledger: list[LedgerRow]) -> None:
        """Note clips of sources that were done again, which must have no clips: they would exist twice."""
        over_committed = self._auditor.over_committed
        for row in ledger:
            if row["num_clips"] and not over_committed.counts_in(place_of(row), row["shard_id"]):
                where = item_name(row["source"], row["key"])
                detail = f"its {row['num_clips']} clips are still here, but it was retried"
                file = ledger_file(self._shard.shard_id)
                self._found.note(Kind.DUPLICATE_CLIP, detail, file=file, where=where)

    def _note_metadata(self, table: pa.Table) -> None:
        """Keep items' metadata, including sidecars, from their first clips."""
        if not self._auditor.layout.columns:
            return
        columns = (table.column(name).to_pylist() for name in ("source", "key", "metadata"))
        for source, key, metadata in zip(*columns, strict=True):
            if metadata is not None:
                self._metadata.setdefault((source, key), metadata)

    def _cover(self, ledger: list[LedgerRow]) -> None:
        """Add coverage, totals and remaining work from the rows that count."""
        audit, auditor = self._audit, self._auditor
        counting = auditor.over_committed.counting(ledger)
        for place in auditor.removed.still_counted(ledger):
            row = ledger[place]
            detail = f"the ledger has {row['num_clips']} clips of it"
            where, file = item_name(row["source"], row["key"]), ledger_file(self._shard.shard_id)
            self._found.note(Kind.REMOVED_STILL_THERE, detail, file=file, where=where)
        audit.totals += totals_of(counting)
        if len(counting) < len(ledger):
            self._check_superseded(ledger)
        before = -1
        for row in counting:
            audit.coverage.add_item(
                row,
                self._shard.sources[row["source_index"] - self._shard.first_source_index],
                is_first=row["source_index"] != before,
                metadata=self._metadata.get((row["source"], row["key"])),
            )
            before = row["source_index"]
            is_removed = row["reason"] == Reason.REMOVED
            audit.steps.partial_items += row["outcome"] == Outcome.PARTIAL and not is_removed
            # Removed items must not be done again.
            if row["outcome"] != Outcome.OK and not is_removed:
                detail = f"{row['outcome']}: {row['reason']}"
                where = item_name(row["source"], row["key"])
                file = ledger_file(self._shard.shard_id)
                self._found.note(Kind.FAILED_ITEMS, detail, file=file, where=where)
        audit.steps.add_failed(self._shard, ledger, auditor.over_plan)


_NOT_WHOLE = (
    Kind.UNREADABLE,
    Kind.BAD_CHECKSUM,
    Kind.WRONG_SCHEMA,
    Kind.WRONG_SHARD,
    Kind.WRONG_CODES_LENGTH,
    Kind.CODE_OUT_OF_RANGE,
)
