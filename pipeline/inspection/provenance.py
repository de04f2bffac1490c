"""Traces a stored clip to its source, plan row and outcome, and a source to its clips and attempts."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bitmill.pipeline.dataset.attempts import place_of
from bitmill.pipeline.dataset.clip_source import SourceMatcher
from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_ledger, require_card
from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.reading.index.clip_lookup import ClipFinder, Place, places_of_source
from bitmill.pipeline.reading.index.footers import damage_named, open_shard
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.removing.removal_records import Record, load_records
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import FormatError, UsageError

_COLUMNS = [field.name for field in TOKEN_COLUMNS if field.name != "codes"]


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """A row of the plan, and its location."""

    part: str
    """The plan's file, relative to the dataset's folder."""
    attempt: int
    shard_id: str
    shard_index: int
    is_committed: bool
    source_index: int
    source: PlannedSource


@dataclass(frozen=True, kw_only=True)
class TracedClip:
    """A clip and its location: sample ``index`` of the dataset in plan order, ``row`` of its shard's file."""

    index: int
    shard_id: str
    shard_index: int
    row: int
    row_group: int
    code_bytes: int
    columns: dict[str, Any]
    """The row's columns in the token shard, except ``codes``."""

    @property
    def file(self) -> str:
        """The token shard, relative to the dataset's folder."""
        return shard_file(self.shard_id)


@dataclass(frozen=True, kw_only=True)
class ClipTrace:
    """The origin of a clip."""

    clip: TracedClip
    plan_row: PlanRow
    ledger_row: LedgerRow
    """Its item's row in its shard's ledger."""


@dataclass(frozen=True, kw_only=True)
class SourceTrace:
    """The results of a source, or of one member of a tar; None as ``key`` means all."""

    source: str
    key: str | None
    plan_rows: list[PlanRow]
    """Each span and each attempt, in plan order."""
    ledger_rows: list[LedgerRow]
    """Rows of all committed attempts, in plan order; the last one per span and key counts."""
    clips: list[TracedClip]
    removals: list[Record]
    """Removals that match it."""


class Tracer:
    """Traces clips and sources of one dataset, finished or not. Raises UsageError if it is not a dataset.

    ``index`` numbers clips like a ``TokenDataset`` without a filter.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._card = require_card(folder)
        self._index = open_index(folder, self._card, allow_incomplete=True)
        self._finder = ClipFinder(folder, self._index)
        self._firsts = np.concatenate(([0], np.cumsum(self._index.num_rows)))

    def clip(self, clip_id: str) -> ClipTrace:
        """Trace a clip by id. Raises UsageError if there is none, and says so if it was removed."""
        for place in self._finder.places(clip_id):
            return self._trace(place)
        for record in load_records(self._folder):
            if any(clip_id in shard.clip_ids for shard in record.removal.shards):
                raise UsageError(
                    f"The clip {clip_id} was removed on {record.removal.removed_on}, as "
                    f"{self._folder.uri}/{record.file} tells."
                )
        raise UsageError(f"{self._folder.uri} has no clip {clip_id}.")

    def sample(self, index: int) -> ClipTrace:
        """Trace a clip by a reader's unfiltered sample number. Raises UsageError if out of range."""
        total = int(self._firsts[-1])
        if not 0 <= index < total:
            raise UsageError(f"{self._folder.uri} has no sample {index}; it has {total}, counted from 0.")
        group = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return self._trace((group, index - int(self._firsts[group])))

    def row(self, shard: str, row: int) -> ClipTrace:
        """Trace a clip by its row in a shard, given by id or file. Raises UsageError if there is none."""
        shard_id = shard.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet")
        if shard_id not in self._index.shard_ids:
            raise UsageError(f"{self._folder.uri} has no committed shard {shard_id} with clips.")
        groups = np.flatnonzero(self._index.shard_of == self._index.shard_ids.index(shard_id))
        first, count = int(self._firsts[groups[0]]), int(self._index.num_rows[groups].sum())
        if not 0 <= row < count:
            raise UsageError(f"The shard {shard_id} has no row {row}; it has {count}, counted from 0.")
        return self.sample(first + row)

    def source(self, uri: str, key: str | None = None) -> SourceTrace:
        """Trace a source. Raises UsageError if it is not planned, or if no member has the key."""
        plan_rows = self._plan_rows(pc.field("uri") == uri)
        if not plan_rows:
            raise UsageError(f"{self._folder.uri} has no source {uri} in its plan{self._meant(uri)}.")
        ledger_rows = [
            row
            for shard_id in dict.fromkeys(row.shard_id for row in plan_rows if row.is_committed)
            for row in load_ledger(self._folder, shard_id)
            if row["source"] == uri and key in (None, row["key"])
        ]
        if key is not None and not ledger_rows:
            raise UsageError(f"No committed shard has a member {key} of {uri}.")
        places = places_of_source(self._folder, self._card, self._index, uri)
        clips = [clip for clip in self._clips(list(places)) if key in (None, clip.columns["key"])]
        removals = [
            record
            for record in load_records(self._folder)
            if any(one.uri == uri and one.key in (None, key) for one in record.removal.sources)
        ]
        return SourceTrace(
            source=uri, key=key, plan_rows=plan_rows, ledger_rows=ledger_rows, clips=clips, removals=removals
        )

    def _trace(self, place: Place) -> ClipTrace:
        (clip,) = self._clips([place])
        columns = clip.columns
        shard_id, uri = clip.shard_id, columns["source"]
        rows = self._plan_rows((pc.field("shard_id") == shard_id) & (pc.field("uri") == uri))
        if not rows:
            raise FormatError(f"The source {uri} of clip {columns['clip_id']} is not planned in its shard.")
        own = PlannedShard(
            shard_id=shard_id,
            shard_index=clip.shard_index,
            first_source_index=0,
            sources=tuple(row.source for row in rows),
        )
        plan_row = rows[SourceMatcher(own, self._card.sampling_rule).place(columns)]
        for row in load_ledger(self._folder, shard_id):
            if (place_of(row), row["key"]) == (plan_row.source.place, columns["key"]):
                return ClipTrace(clip=clip, plan_row=plan_row, ledger_row=row)
        raise FormatError(
            f"The ledger of shard {shard_id} has no row of {uri}; run bitmill audit for details."
        )

    def _clips(self, places: list[Place]) -> list[TracedClip]:
        """Returns the clips at these places; reads each row group once."""
        found: list[TracedClip] = []
        indices = {row.shard_id: row.shard_index for row in self._shard_rows({g for g, _ in places})}
        geometry = self._card.geometry
        by_group: dict[int, list[int]] = {}
        for group, row in places:
            by_group.setdefault(group, []).append(row)
        for group, rows in by_group.items():
            info = self._index.group(group)
            with open_shard(self._folder, info.shard_id) as file:
                table = file.read_row_group(info.number, columns=_COLUMNS)
            before = self._first_of_shard(group)
            for row in rows:
                columns: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
                grid = columns["num_frames"], columns["height"], columns["width"]
                found.append(
                    TracedClip(
                        index=int(self._firsts[group]) + row,
                        shard_id=info.shard_id,
                        shard_index=indices[info.shard_id],
                        row=int(self._firsts[group]) - before + row,
                        row_group=info.number,
                        code_bytes=packed_size(geometry.num_tokens(grid), geometry.code.bits_per_token),
                        columns=columns,
                    )
                )
        return found

    def _first_of_shard(self, group: int) -> int:
        """Returns the first sample number of a row group's shard, whose row groups are contiguous."""
        return int(self._firsts[int(np.searchsorted(self._index.shard_of, self._index.shard_of[group]))])

    def _shard_rows(self, groups: set[int]) -> list[PlanRow]:
        names = {self._index.group(group).shard_id for group in groups}
        return self._plan_rows(pc.field("shard_id").isin(sorted(names))) if names else []

    def _meant(self, uri: str) -> str:
        """A planned source with the same last part, which is what ``inspect`` shows."""
        name = "/" + uri.rsplit("/", 1)[-1]
        rows = self._plan_rows(pc.ends_with(pc.field("uri"), name)) if len(name) > 1 else []
        return f" (did you mean {rows[0].source.uri!r}?)" if rows else ""

    def _plan_rows(self, wanted: pc.Expression) -> list[PlanRow]:
        found: list[tuple[str, int, dict[str, Any]]] = []
        for part in self._card.plan:
            origin = f"{self._folder.uri}/{part.file}"
            try:
                with damage_named(origin):
                    data = io.BytesIO(self._folder.read_bytes(part.file))
                    rows: list[dict[str, Any]] = pq.read_table(data, filters=wanted).to_pylist()
            except FileNotFoundError as error:
                raise FormatError(f"The plan {origin} is missing.") from error
            found += [(part.file, part.attempt, row) for row in rows]
        committed = committed_shards(self._folder) if found else set[str]()
        return [
            PlanRow(
                part=file,
                attempt=attempt,
                shard_id=row["shard_id"],
                shard_index=row["shard_index"],
                is_committed=row["shard_id"] in committed,
                source_index=row["source_index"],
                source=PlannedSource(
                    uri=row["uri"],
                    size_bytes=row["size_bytes"],
                    version=row["version"],
                    start_ns=row["start_ns"],
                    end_ns=row["end_ns"],
                    metadata=row["metadata"],
                ),
            )
            for file, attempt, row in found
        ]
