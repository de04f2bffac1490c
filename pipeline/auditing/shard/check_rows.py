"""Checks one shard's rows against each other, its plan and its ledger; reads no files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.pipeline.auditing.shard.check_ledger import ItemAccount, ItemKey, ItemSums, item_name
from bitmill.pipeline.auditing.shard.check_shapes import shape_faults
from bitmill.pipeline.auditing.shard.check_spans import (
    ClipSpan,
    is_still,
    outside_media,
    outside_plan,
    overlapping,
)
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.auditing.shard.read_shard import ReadGroup
from bitmill.pipeline.dataset.token_counts import real_frames
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.ids import clip_id
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.audit_findings import Kind

_COLUMNS = ("clip_id", "source", "key", "start_ns", "end_ns")


class _Row(NamedTuple):
    number: int
    clip_id: str
    source: str
    key: str | None
    start_ns: int
    end_ns: int
    num_frames: int
    num_tokens: int


@dataclass
class _Item:
    """What was seen of one item's clips."""

    sums: ItemSums = field(default_factory=ItemSums)
    spans: list[ClipSpan] = field(default_factory=list[ClipSpan])
    starts: set[int] = field(default_factory=set[int])
    timed: bool = True
    """True if all clips' times are valid, so that their sum is meaningful."""


class RowCheck:
    """Checks the tables of a shard's row groups in order, then ``finish``; adds defects to ``found``.

    Each defect is noted once: a row with one defect is skipped by checks that would only repeat it. Ids are
    checked without other shards: each must be the hash of its source, key, planned span and start; within an
    item, starts must be unique; and sources are planned once. So valid ids are unique in the dataset.

    ``accounts`` is None if there is no ledger to compare with, ``geometry`` None if the shard was made by
    another tokenizer. ``check_ids`` is false if it was made by another job, which may sample differently.
    """

    def __init__(
        self,
        shard: PlannedShard,
        accounts: Mapping[ItemKey, ItemAccount] | None,
        found: FindingTally,
        *,
        sampling_rule: dict[str, Any],
        bits_per_token: int,
        geometry: Geometry | None,
        sizes: FrameSizes,
        check_ids: bool = True,
    ) -> None:
        self._shard = shard
        self._accounts = accounts
        self._found = found
        self._rule = sampling_rule
        self._bits_per_token = bits_per_token
        self._geometry = geometry
        # Another job's frames may have other sizes, as its ids have another rule.
        self._sizes = sizes if check_ids else None
        self._check_ids = check_ids
        self._file = shard_file(shard.shard_id)
        self._places: dict[str, list[int]] = {}
        for place, source in enumerate(shard.sources):
            self._places.setdefault(source.uri, []).append(place)
        self._items: dict[ItemKey, _Item] = {}
        self._last: tuple[int, int, int] = (-1, -1, 0)
        self._last_key: ItemKey | None = None
        self._all_known = True
        self.num_rows = 0

    def add(self, group: ReadGroup, table: pa.Table) -> None:
        """Add a row group, whose columns are ``table``."""
        times_fit = _times_fit(table) | ~group.codes_fit
        faults = {} if self._geometry is None else shape_faults(table, self._geometry, self._sizes)
        for row in self._rows(table, group.num_tokens):
            place = row.number - self.num_rows
            codes_fit = bool(group.codes_fit[place])
            fault = faults.get(place) if codes_fit else None
            self._take(row, shape_counts=codes_fit and fault is None)
            if fault is not None:
                self._note(Kind.WRONG_SHAPE, fault, row)
            elif not times_fit[place]:
                detail = "frame_pts_ns does not contain one time per frame in ascending order"
                self._found.note(Kind.WRONG_SCHEMA, detail, file=self._file, where=f"row {row.number}")
        self.num_rows += len(table)

    def skip(self, num_rows: int) -> None:
        """Skip a row group that could not be read."""
        self.num_rows += num_rows
        self._all_known = False

    def finish(self) -> None:
        """Check what depends on all rows."""
        for key, item in self._items.items():
            self._check_spans(key, item)
        if self._all_known and self._accounts is not None:
            self._compare(self._accounts)

    def _rows(self, table: pa.Table, num_tokens: npt.NDArray[np.int64]) -> Iterator[_Row]:
        columns = (table.column(name).to_pylist() for name in _COLUMNS)
        counts = real_frames(table).tolist(), num_tokens.tolist()
        for number, values in enumerate(zip(*columns, *counts, strict=True), self.num_rows):
            yield _Row._make((number, *values))

    def _take(self, row: _Row, *, shape_counts: bool) -> None:
        places = self._places.get(row.source)
        if places is None:
            self._note(Kind.UNPLANNED_SOURCE, "the source is not in the shard's plan", row)
            self._all_known = False
            return
        place, is_right = self._place_of(row, places)
        key = (place, row.key)
        item = self._items.setdefault(key, _Item())
        if is_right and row.start_ns in item.starts:
            self._note(Kind.DUPLICATE_CLIP, f"clip {row.clip_id} occurs again", row)
            return
        if not is_right:
            self._note(Kind.WRONG_CLIP_ID, f"clip {row.clip_id} does not have the expected id", row)
            # It is uncertain which of several sources it belongs to and when it begins.
            is_item = self._accounts is None or key in self._accounts
            self._all_known = self._all_known and is_item and len(places) == 1
            item.timed = False
        else:
            self._place(row, key, item)
        if not shape_counts:
            self._all_known = False
        item.sums.clips += 1
        item.sums.frames += row.num_frames
        item.sums.tokens += row.num_tokens
        item.sums.code_bytes += packed_size(row.num_tokens, self._bits_per_token)
        item.sums.tokenized_ns += row.end_ns - row.start_ns

    def _place(self, row: _Row, key: ItemKey, item: _Item) -> None:
        """Check a row's position and time."""
        item.starts.add(row.start_ns)
        account = None if self._accounts is None else self._accounts.get(key)
        # Without a ledger, a tar's items may come in any order.
        order = account.order if account else self._last[1] + (key != self._last_key)
        at = (key[0], order, row.start_ns)
        if at < self._last:
            self._note(Kind.OUT_OF_ORDER, "the row should precede the previous one", row)
        self._last, self._last_key = at, key
        if is_still(row.start_ns, row.end_ns, row.num_frames):
            return
        span = ClipSpan(row.start_ns, row.end_ns, row.number, row.clip_id)
        wrong = outside_plan(span, self._shard.sources[key[0]].span_ns)
        if wrong is None:
            item.spans.append(span)
        else:
            self._note(Kind.SPAN_OUTSIDE_SOURCE, wrong, row)
            item.timed = False

    def _place_of(self, row: _Row, places: list[int]) -> tuple[int, bool]:
        """The index of a row's source among those with its URI, and whether the row's id matches it."""
        if not self._check_ids:
            return self._likely(row, places), True
        right = [place for place in self._by_span(row, places) if self._id_of(row, place) == row.clip_id]
        for place in right:
            # A manifest may name a span twice, giving clips with equal ids; that is a finding of the plan.
            item = self._items.get((place, row.key))
            if item is None or row.start_ns not in item.starts:
                return place, True
        return (right[0], True) if right else (self._likely(row, places), False)

    def _by_span(self, row: _Row, places: list[int]) -> list[int]:
        """Sources whose span contains the row's time; all of them if none does, as for pictures."""
        fitting = [place for place in places if _contains(self._shard.sources[place], row.start_ns)]
        if row.start_ns == row.end_ns == 0 or not fitting:
            return places
        return fitting

    def _likely(self, row: _Row, places: list[int]) -> int:
        return self._by_span(row, places)[0]

    def _id_of(self, row: _Row, place: int) -> str:
        return clip_id(row.source, row.key, self._shard.sources[place].span_ns, row.start_ns, self._rule)

    def _check_spans(self, key: ItemKey, item: _Item) -> None:
        source = item_name(self._shard.sources[key[0]].uri, key[1])
        for earlier, later in overlapping(item.spans):
            detail = (
                f"rows {earlier.row} and {later.row} (clips {earlier.clip_id} and {later.clip_id}) both "
                f"cover the time from {later.start_ns} ns"
            )
            self._found.note(Kind.OVERLAPPING_SPANS, detail, file=self._file, where=source)
            item.timed = False
        account = None if self._accounts is None else self._accounts.get(key)
        wrong = outside_media(item.spans, account) if account and item.timed else None
        if wrong is not None:
            self._found.note(Kind.SPAN_OUTSIDE_SOURCE, wrong, file=self._file, where=source)
            item.timed = False

    def _compare(self, accounts: Mapping[ItemKey, ItemAccount]) -> None:
        """Compare the ledger's sums of each item with those of its rows."""
        file = ledger_file(self._shard.shard_id)
        for key in sorted(accounts.keys() | self._items.keys(), key=lambda key: (key[0], key[1] or "")):
            source = item_name(self._shard.sources[key[0]].uri, key[1])
            item = self._items.get(key, _Item())
            if key not in accounts:
                detail = f"the ledger has no row for it, the shard has {item.sums.clips} clips"
                self._found.note(Kind.COUNTS_DIFFER, detail, file=file, where=source)
                continue
            wrong = _differences(accounts[key].sums, item.sums, with_time=item.timed)
            if wrong:
                self._found.note(Kind.COUNTS_DIFFER, wrong, file=file, where=source)

    def _note(self, kind: Kind, detail: str, row: _Row) -> None:
        where = f"row {row.number}, {item_name(row.source, row.key)}"
        self._found.note(kind, detail, file=self._file, where=where)


def _differences(told: ItemSums, counted: ItemSums, *, with_time: bool) -> str:
    """Describe in which sums a ledger and the shard's rows differ; empty if they agree."""
    names = {"clips": "clips", "frames": "frames", "tokens": "tokens", "code_bytes": "bytes of codes"}
    if with_time:
        names["tokenized_ns"] = "ns of time"
    return "; ".join(
        f"the ledger has {getattr(told, name)} {words}, the shard has {getattr(counted, name)}"
        for name, words in names.items()
        if getattr(told, name) != getattr(counted, name)
    )


def _contains(source: PlannedSource, start_ns: int) -> bool:
    first, end = source.span_ns
    return (first is None or start_ns >= first) and (end is None or start_ns < end)


def _times_fit(table: pa.Table) -> npt.NDArray[np.bool_]:
    """bool [n]: whether a row has one presentation time per frame, in ascending order."""
    times: Any = table.column("frame_pts_ns").combine_chunks()
    offsets: npt.NDArray[np.int64] = times.offsets.to_numpy().astype(np.int64)
    values: npt.NDArray[np.int64] = times.values.to_numpy()
    fits: npt.NDArray[np.bool_] = np.diff(offsets) == real_frames(table)
    back = np.flatnonzero(np.diff(values) < 0) + 1
    # The first value of a row has no predecessor.
    rows = np.searchsorted(offsets, back, side="right") - 1
    fits[rows[offsets[rows] != back]] = False
    return fits
