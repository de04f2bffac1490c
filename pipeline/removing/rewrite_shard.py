"""Rewrites one committed shard without the removed clips: its ledger, then its token file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bitmill.pipeline.dataset.clip_source import SourceMatcher
from bitmill.pipeline.dataset.dataset_folder import load_ledger
from bitmill.pipeline.dataset.ledger import LedgerRow, ledger_bytes
from bitmill.pipeline.dataset.token_counts import token_counts
from bitmill.pipeline.reading.index.footers import open_shard
from bitmill.pipeline.removing.removal_filter import ALL_GONE, SOME_GONE, Takedown
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard, ledger_file, shard_file
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.dataset.token_shard import ShardMetadata, read_shard_metadata
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.requests.job import StorageSpec

_COUNTS = ("num_clips", "num_frames", "num_tokens", "code_bytes", "tokenized_ns")

ItemPlace = tuple[int, str | None]
"""The index of a source in its shard, and the item's key."""


@dataclass(frozen=True, kw_only=True)
class WritingRules:
    """The job's settings for writing and naming clips, which determine the bytes of a rewritten shard."""

    storage: StorageSpec
    sampling_rule: dict[str, Any]

    @classmethod
    def of(cls, card: DatasetCard) -> "WritingRules":
        """The rules with which a dataset was made."""
        fields = card.fingerprint_fields
        # The spec was validated when the job was read.
        storage = StorageSpec.model_construct(
            codes_compression=fields["storage.codes_compression"],
            row_group_bytes=fields["storage.row_group_bytes"],
        )
        return cls(storage=storage, sampling_rule=card.sampling_rule)


@dataclass
class _Kept:
    """Sums over the remaining clips of the items that lose some."""

    counts: dict[ItemPlace, dict[str, int]] = field(default_factory=dict[ItemPlace, dict[str, int]])
    losing: set[ItemPlace] = field(default_factory=set[ItemPlace])

    def add(self, place: ItemPlace, row: TokenRow, num_tokens: int) -> None:
        counts = self.counts.setdefault(place, dict.fromkeys(_COUNTS, 0))
        counts["num_clips"] += 1
        counts["num_frames"] += len(row.frame_pts_ns)
        counts["num_tokens"] += num_tokens
        counts["code_bytes"] += len(row.codes)
        counts["tokenized_ns"] += row.end_ns - row.start_ns

    def of(self, place: ItemPlace) -> dict[str, int]:
        return self.counts.get(place) or dict.fromkeys(_COUNTS, 0)


def rewrite_shard(folder: Folder, shard: PlannedShard, takedown: Takedown, rules: WritingRules) -> bool:
    """Publish a committed shard's ledger and token file without removed clips; true if either changed.

    The token file is what the writer would have written if those clips had never existed; the rest of the
    ledger is unchanged. Idempotent, also after being killed midway. Raises FormatError for damage.
    """
    name = shard_file(shard.shard_id)
    origin = f"{folder.uri}/{name}"
    matcher = SourceMatcher(shard, rules.sampling_rule)
    before = load_ledger(folder, shard.shard_id)
    kept = _Kept()
    with folder.publishing(name) as staged:
        with open_shard(folder, shard.shard_id) as file:
            metadata = read_shard_metadata(file.schema_arrow, origin=origin)
            with TokenShardWriter(staged.path, metadata, rules.storage) as writer:
                for row, num_tokens in _rows(file, metadata):
                    place = matcher.place(vars(row)), row.key
                    if takedown.takes_clip(row.clip_id, row.source, row.key):
                        kept.losing.add(place)
                    else:
                        kept.add(place, row, num_tokens)
                        writer.add(row)
        ledger = _ledger(before, shard, takedown, kept)
        if not kept.losing:
            staged.drop()
        if ledger != before:
            folder.write_bytes(ledger_file(shard.shard_id), ledger_bytes(ledger))
    return bool(kept.losing) or ledger != before


def _rows(file: Any, metadata: ShardMetadata) -> Iterator[tuple[TokenRow, int]]:
    """Yield a shard's rows, each with its number of tokens."""
    for group in range(file.metadata.num_row_groups):
        rows = [TokenRow(**row) for row in file.read_row_group(group).to_pylist()]
        shapes_n3 = np.array([(row.num_frames, row.height, row.width) for row in rows], np.int64)
        yield from zip(rows, token_counts(shapes_n3, metadata.schedules).tolist(), strict=True)


def _ledger(before: list[LedgerRow], shard: PlannedShard, takedown: Takedown, kept: _Kept) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for row in before:
        place = row["source_index"] - shard.first_source_index, row["key"]
        if takedown.takes_item(row["source"], row["key"]):
            row = _removed(row, dict.fromkeys(_COUNTS, 0))  # noqa: PLW2901
        elif place in kept.losing and row["reason"] != Reason.DUPLICATE_KEY:
            row = _removed(row, kept.of(place))  # noqa: PLW2901
        rows.append(row)
    return rows


def _removed(row: LedgerRow, counts: Mapping[str, int]) -> LedgerRow:
    """The row of an item that lost clips, computed from what remains, so that it is idempotent."""
    some = counts["num_clips"] > 0
    return row | {
        **counts,
        "outcome": (Outcome.PARTIAL if some else Outcome.FAILED).value,
        "reason": Reason.REMOVED.value,
        "detail": SOME_GONE if some else ALL_GONE,
    }
