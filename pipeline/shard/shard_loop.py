"""Tokenizes one shard, from decoded items to committed files. Independent of where items are decoded."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from bitmill.pipeline.dataset.dataset_folder import load_ledger
from bitmill.pipeline.dataset.ledger import LedgerRow, check_accounts, ledger_bytes, totals_of
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemStart, SourceEvent
from bitmill.pipeline.shard.batch_clips import Batcher, PlanOrder
from bitmill.pipeline.shard.encoder import ClipEncoder, Codes, PendingCodes, naming
from bitmill.pipeline.shard.ledger_rows import ledger_row
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.pipeline.shard.progress import EndedItem, ShardProgress, ShardReport
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.packing import pack_codes
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.ids import clip_id
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.reports.status_file import GPU, STAGES
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import JobSpec, ShardVersion


@dataclass(frozen=True, kw_only=True)
class ShardContext:
    """Context shared by all shards of a job."""

    job: JobSpec
    job_fingerprint: str
    tokenizer_fingerprint: str
    geometry: Geometry
    """The tokenizer's."""
    sizes: FrameSizes
    pixel_rule: PixelRule
    shard_version: ShardVersion


@dataclass
class _Item:
    """A running or ended item, with sums over its clips."""

    place: int
    """Of its source in the shard."""
    start: ItemStart
    end: ItemEnd | None = None
    num_clips: int = 0
    num_frames: int = 0
    num_tokens: int = 0
    code_bytes: int = 0
    tokenized_ns: int = 0

    def count(self, clip: DecodedClip) -> None:
        self.num_clips += 1
        self.num_frames += len(clip.frames_THWC)
        self.tokenized_ns += clip.end_ns - clip.start_ns


@dataclass(frozen=True)
class _Placed:
    """A clip, its item, and its row in the shard."""

    clip: DecodedClip
    item: _Item
    row: int

    @property
    def num_frames(self) -> int:
        return len(self.clip.frames_THWC)

    @property
    def size(self) -> SizePx:
        height, width = self.clip.frames_THWC.shape[1:3]
        return height, width


def tokenize_shard(
    shard: PlannedShard,
    items: Iterable[Iterator[SourceEvent]],
    encoder: ClipEncoder,
    context: ShardContext,
    output: Folder,
) -> Iterator[ShardProgress | ShardReport]:
    """Tokenize one shard and commit it; yields progress, and the report last.

    ``items`` yields one iterator of events per source, in plan order: one item for a plain source, one or
    more for an archive, each opened by an ItemStart. The ledger is published before the token file, whose
    appearance is the commit; on an error neither is published. Raises ValueError if ``items`` does not match
    the shard, and storage errors.
    """
    with output.publishing(shard_file(shard.shard_id)) as staged:
        with TokenShardWriter(staged.path, _metadata(shard, context), context.job.storage) as writer:
            run = _ShardRun(shard, encoder, context, writer)
            for place, events in zip(range(len(shard.sources)), items, strict=True):
                yield from run.take(place, events)
            yield from run.finish()
            started = time.perf_counter()
        ledger = run.ledger_rows()
        if output.exists(shard_file(shard.shard_id)):
            # Another actor committed first. Its files stay: outcomes that depend on timing (a decoder that
            # timed out) could differ here, and ledger and tokens must be from one run.
            staged.drop()
            ledger = load_ledger(output, shard.shard_id)
            check_accounts(ledger, shard, origin=ledger_file(shard.shard_id))
        else:
            output.write_bytes(ledger_file(shard.shard_id), ledger_bytes(ledger))
    run.seconds["write"] += time.perf_counter() - started
    yield ShardReport(shard_id=shard.shard_id, totals=totals_of(ledger), seconds=run.seconds)


class _ShardRun:
    """State of one pass over a shard: all items with their ends, and time by stage."""

    def __init__(
        self, shard: PlannedShard, encoder: ClipEncoder, context: ShardContext, writer: TokenShardWriter
    ) -> None:
        self._batcher = Batcher[_Placed](context.job.compute.batch_frames * prod(context.sizes.largest))
        self._rows = PlanOrder[TokenRow]()
        self._num_clips = 0
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._told_seconds = dict(self.seconds)
        self._shard = shard
        self._encoder = encoder
        self._context = context
        self._writer = writer
        self._items: list[_Item] = []
        self._under_way: tuple[list[_Placed], PendingCodes] | None = None

    def take(self, place: int, events: Iterator[SourceEvent]) -> Iterator[ShardProgress]:
        """Read one source to its end and encode the batches that are full."""
        source = self._shard.sources[place]
        item: _Item | None = None
        added_items = 0
        if not source.is_archive:
            whole = ItemStart(key=None, size_bytes=source.size_bytes, metadata=source.metadata)
            item = self._begun(place, whole)
        started = time.perf_counter()
        for event in events:
            self.seconds["wait"] += time.perf_counter() - started
            if isinstance(event, ItemStart):
                if item is not None and (item.end is None or not source.is_archive):
                    raise ValueError("an item began within another")
                added_items = 0 if item is None else 1
                item = self._begun(place, event)
            elif item is None or item.end is not None:
                raise ValueError("an item went on after its end, or before its start")
            elif isinstance(event, ItemEnd):
                item.end = event
                self.seconds["read"] += event.read_s
                self.seconds["decode"] += event.decode_s
                yield self._ended(item, added_items)
            else:
                item.count(event)
                placed = _Placed(event, item, self._num_clips)
                self._num_clips += 1
                for full in self._batcher.add(placed):
                    yield from self._encode(full)
            started = time.perf_counter()
        if item is None or item.end is None:
            raise ValueError("an item's events stopped without an end")

    def _begun(self, place: int, start: ItemStart) -> _Item:
        item = _Item(place, start)
        self._items.append(item)
        return item

    def _ended(self, item: _Item, added_items: int) -> ShardProgress:
        assert item.end is not None
        ended = EndedItem(
            source=self._shard.sources[item.place].uri,
            key=item.start.key,
            place=item.place,
            size_bytes=item.start.size_bytes,
            outcome=item.end.outcome(item.num_clips),
            reason=item.end.reason,
            detail=item.end.detail,
        )
        return ShardProgress.of_item(
            self._shard.shard_id, ended, added_items=added_items, seconds=self._new_seconds()
        )

    def _new_seconds(self) -> dict[str, float]:
        told, self._told_seconds = self._told_seconds, dict(self.seconds)
        new = {stage: spent - told.get(stage, 0.0) for stage, spent in self.seconds.items()}
        return {stage: spent for stage, spent in new.items() if spent > 0}

    def finish(self) -> Iterator[ShardProgress]:
        """Encode the last batches and write all rows that are left."""
        for rest in self._batcher.rest():
            yield from self._encode(rest)
        yield from self._write_running()

    def _encode(self, batch: list[_Placed]) -> Iterator[ShardProgress]:
        """Start a batch, then write the previous one, which is packed while the accelerator computes."""
        started = time.perf_counter()
        clips = [padded(placed.clip.frames_THWC, self._context.geometry) for placed in batch]
        with naming(self._name(batch)):
            pending = self._encoder.begin(clips)
        self.seconds["encode"] += time.perf_counter() - started
        yield from self._write_running()
        self._under_way = (batch, pending)
        if pending.ready():
            yield from self._write_running()

    def _name(self, batch: list[_Placed]) -> str:
        (height, width), item = batch[0].size, batch[0].item
        key = "" if item.start.key is None else f" {item.start.key}"
        first = f"{self._shard.sources[item.place].uri}{key}"
        return f"clips of {height}×{width} pixels, the first of {len(batch)} of {first}"

    def _write_running(self) -> Iterator[ShardProgress]:
        """Wait for the running batch, if any, and write its rows."""
        if self._under_way is not None:
            (batch, pending), self._under_way = self._under_way, None
            yield self._write(batch, pending)

    def _write(self, batch: list[_Placed], pending: PendingCodes) -> ShardProgress:
        started = time.perf_counter()
        with naming(self._name(batch)):
            codes = pending.wait()
        encoded = time.perf_counter()
        num_tokens = 0
        for placed, codes_thwD in zip(batch, codes, strict=True):
            item = placed.item
            source = self._shard.sources[item.place]
            row = _token_row(source, item.start, placed.clip, codes_thwD, self._context)
            row_tokens = self._context.geometry.num_tokens((row.num_frames, row.height, row.width))
            item.num_tokens += row_tokens
            item.code_bytes += len(row.codes)
            num_tokens += row_tokens
            for due in self._rows.put(placed.row, row):
                self._writer.add(due)
        self.seconds["encode"] += encoded - started
        if pending.gpu_s:
            self.seconds[GPU] = self.seconds.get(GPU, 0.0) + pending.gpu_s
        self.seconds["write"] += time.perf_counter() - encoded
        return ShardProgress(
            shard_id=self._shard.shard_id,
            clips=len(batch),
            frames=sum(placed.num_frames for placed in batch),
            tokens=num_tokens,
            seconds=self._new_seconds(),
        )

    def ledger_rows(self) -> list[LedgerRow]:
        """Returns the rows of all items; their clips must all be written."""
        return [self._ledger_row(item, item.end) for item in self._items if item.end is not None]

    def _ledger_row(self, item: _Item, end: ItemEnd) -> LedgerRow:
        return ledger_row(
            shard_id=self._shard.shard_id,
            source_index=self._shard.first_source_index + item.place,
            source=self._shard.sources[item.place],
            start=item.start,
            end=end,
            num_clips=item.num_clips,
            num_frames=item.num_frames,
            num_tokens=item.num_tokens,
            code_bytes=item.code_bytes,
            tokenized_ns=item.tokenized_ns,
            shard_version=self._context.shard_version,
        )


def _token_row(
    source: PlannedSource, start: ItemStart, clip: DecodedClip, codes_thwD: Codes, context: ShardContext
) -> TokenRow:
    geometry, num_real = context.geometry, len(clip.frames_THWC)
    num_frames = geometry.token_rows(geometry.legal_at_least(num_real) or 0)
    height, width = geometry.grid(*clip.frames_THWC.shape[1:3])
    codes_ND = codes_thwD.reshape(-1, codes_thwD.shape[-1])
    if len(codes_ND) != geometry.num_tokens((num_frames, height, width)):
        raise ValueError(f"the encoder gave codes {codes_thwD.shape} for frames {clip.frames_THWC.shape}")
    return TokenRow(
        clip_id=clip_id(source.uri, start.key, source.span_ns, clip.start_ns, context.job.sampling.rule()),
        source=source.uri,
        key=start.key,
        start_ns=clip.start_ns,
        end_ns=clip.end_ns,
        fps=clip.fps,
        frame_pts_ns=clip.frame_pts_ns.tolist(),
        num_frames=num_frames,
        height=height,
        width=width,
        source_height=clip.source_height,
        source_width=clip.source_width,
        codes=pack_codes(codes_ND, geometry.code),
        metadata=start.metadata,
        scaled_height=clip.crop.scaled_height,
        scaled_width=clip.crop.scaled_width,
        crop_top=clip.crop.top,
        crop_left=clip.crop.left,
        lead_frames=geometry.lead_frames,
        num_real_frames=num_real,
    )


def _metadata(shard: PlannedShard, context: ShardContext) -> ShardMetadata:
    geometry = context.geometry
    return ShardMetadata(
        format_version=context.shard_version,
        layout=geometry.layout,
        patch_px=geometry.patch_px,
        frames_per_token=geometry.frames_per_token,
        code=geometry.code,
        schedules=geometry.schedules,
        pixel_rule=context.pixel_rule if context.shard_version > 1 else None,
        tokenizer_fingerprint=context.tokenizer_fingerprint,
        job_fingerprint=context.job_fingerprint,
        shard_id=shard.shard_id,
    )
