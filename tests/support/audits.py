"""Sound datasets to plant defects in, and audits of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from bitmill.pipeline.auditing.parallel import LocalProcesses
from bitmill.pipeline.auditing.run_audit import audit_dataset
from bitmill.pipeline.auditing.shard.collector_protocol import Collectors
from bitmill.pipeline.dataset.dataset_folder import (
    committed_shards,
    load_plan,
    publish_totals,
    require_card,
    write_plan,
)
from bitmill.pipeline.dataset.ledger import ledger_bytes
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import SourceEvent
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.shard.shard_loop import ShardContext, tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import (
    DATASET_FILE,
    DatasetCard,
    PlanPart,
    ledger_file,
    read_card,
    shard_file,
)
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.token_shard import read_shard_metadata
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import AuditReport
from bitmill.schemas.requests.job import ShardingSpec, ShardVersion, StorageSpec
from tests.support.datasets import make_dataset
from tests.support.fakes import HashEncoder, make_job

CLIPS = [[16, 16, 16], [16, 9], [5], [16, 16, 3], [2, 2], [16]]
"""Frames of the clips of each source; two sources a shard."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class AuditedDataset:
    """A dataset on this disk, its files by shard number, and ways to change them."""

    path: Path

    @cached_property
    def folder(self) -> Folder:
        return Folder(str(self.path))

    @property
    def card(self) -> DatasetCard:
        return read_card((self.path / DATASET_FILE).read_bytes(), origin="it")

    @cached_property
    def plan(self) -> list[PlannedShard]:
        return load_plan(self.folder, require_card(self.folder))

    def shard(self, number: int) -> Path:
        return self.path / shard_file(self.plan[number].shard_id)

    def ledger(self, number: int) -> Path:
        return self.path / ledger_file(self.plan[number].shard_id)

    def change_card(self, **fields: Any) -> None:
        (self.path / DATASET_FILE).write_bytes(self.card.model_copy(update=fields).to_json())

    def change_rows(
        self,
        number: int,
        change: Callable[[Rows], object],
        *,
        metadata: Mapping[str, Any] | None = None,
        compression: Literal["none", "zstd"] = "none",
    ) -> None:
        """Write a token shard anew, its pages' checksums and all, with other rows or schema metadata."""
        path = self.shard(number)
        told = read_shard_metadata(pq.read_schema(path), origin=str(path))
        rows = pq.read_table(path).to_pylist()
        change(rows)
        storage = StorageSpec(row_group_bytes=1024, codes_compression=compression)
        with TokenShardWriter(path, told.model_copy(update=dict(metadata or {})), storage) as writer:
            for row in rows:
                writer.add(TokenRow(**row))

    def change_ledger(self, number: int, change: Callable[[Rows], object]) -> None:
        """Write a ledger anew, with other rows."""
        rows = pq.read_table(self.ledger(number)).to_pylist()
        change(rows)
        self.ledger(number).write_bytes(ledger_bytes(rows))

    def flip(self, path: Path, *, column: str, group: int = 0) -> None:
        """Flip a bit in the last byte of a column chunk, which is a value's."""
        footer = pq.read_metadata(path)
        chunk = next(
            found
            for place in range(footer.num_columns)
            if (found := footer.row_group(group).column(place)).path_in_schema.split(".")[0] == column
        )
        start = (
            chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
        )
        data = bytearray(path.read_bytes())
        data[start + chunk.total_compressed_size - 1] ^= 1
        path.write_bytes(data)

    def audit(
        self, *, workers: int = 1, columns: Sequence[str] = (), collectors: Collectors | None = None
    ) -> AuditReport:
        audit = audit_dataset(
            self.folder,
            readers=LocalProcesses(workers),
            workers=workers,
            columns=tuple(columns),
            collectors=lambda _at_hand, _prefixes: collectors or {},
        )
        return audit.report(bitmill_version="0", created="2026-01-01T00:00:00Z", seconds=0.0)

    def collected(self, collectors: Collectors, *, workers: int = 1) -> Mapping[str, Any]:
        """What collectors made of the codes."""
        readers = LocalProcesses(workers)
        return audit_dataset(
            self.folder, readers=readers, workers=workers, collectors=lambda _at_hand, _prefixes: collectors
        ).collected

    def stored(self, number: int) -> Iterator[tuple[list[str], list[bytes]]]:
        """Ids and codes of each row group of a shard, as pyarrow reads them."""
        file = pq.ParquetFile(self.shard(number))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            yield table.column("clip_id").to_pylist(), table.column("codes").to_pylist()

    def found(self) -> dict[Kind, int]:
        """Kinds that an audit finds, with their counts."""
        return {one.kind: one.count for one in self.audit().findings}


def sound_dataset(
    path: Path, clips: Sequence[Sequence[int]] = CLIPS, *, shard_version: ShardVersion = 2
) -> AuditedDataset:
    """A complete dataset with totals, made by the real shard loop; shards of several row groups."""
    make_dataset(str(path), clips, grid_size=4, shard_version=shard_version)
    dataset = AuditedDataset(path)
    settle(dataset)
    return dataset


@dataclass(frozen=True)
class Planted:
    """A source, and the events that decoding it gives."""

    source: PlannedSource
    events: Sequence[SourceEvent]


def dataset_of(path: Path, *attempts: Sequence[Planted], max_sources: int = 3) -> AuditedDataset:
    """A complete dataset of given sources, made by the real shard loop; a plan part for each attempt."""
    make_dataset(str(path), [])
    dataset = AuditedDataset(path)
    card, folder = dataset.card, dataset.folder
    context = ShardContext(
        job=make_job(),
        job_fingerprint=card.job_fingerprint,
        tokenizer_fingerprint=card.tokenizer_fingerprint,
        # Without its limit on frames.
        geometry=Geometry(patch_px=card.geometry.patch_px, code=card.geometry.code),
        sizes=squares(16),
        pixel_rule=1,
        shard_version=card.shard_version,
    )
    shards: list[PlannedShard] = []
    parts: list[PlanPart] = []
    for number, planted in enumerate(attempts):
        sharding = ShardingSpec(max_sources=max_sources)
        sources = [one.source for one in planted]
        added = cut_shards(sources, sharding, card.job_fingerprint, behind=shards, attempt=number + 1)
        parts.append(write_plan(folder, number, added))
        shards += added
        events = iter([iter(one.events) for one in planted])
        for shard in added:
            items = [next(events) for _ in shard.sources]
            list(tokenize_shard(shard, items, HashEncoder(), context, folder))
    dataset.change_card(plan=parts)
    settle(dataset)
    return dataset


def settle(dataset: AuditedDataset) -> None:
    """Write the totals that the ledgers give."""
    folder = dataset.folder
    totals = committed_totals(folder, dataset.plan, committed_shards(folder))
    publish_totals(folder, dataset.card, totals)
