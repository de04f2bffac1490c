"""One shard, from decoded items to committed files. Does not know where the items come from."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.dataset_folder import load_ledger
from pipeline.encoding import Bits, ClipEncoder
from pipeline.items import DecodedClip, ItemEnd, ItemEvent
from pipeline.shard.batching import Batcher
from pipeline.shard.ledger import LedgerRow, ledger_bytes, ledger_row, totals_of
from pipeline.shard.writer import TokenRow, TokenShardWriter
from pipeline.storage import Folder
from schemas.dataset import Totals, ledger_file, shard_file
from schemas.ids import clip_id
from schemas.job import JobSpec
from schemas.outcomes import Outcome, Reason
from schemas.packing import pack_bits
from schemas.plan import PlannedShard, PlannedSource
from schemas.token_shard import ShardMetadata


@dataclass(frozen=True, kw_only=True)
class ShardContext:
    """What every shard of a job shares."""

    job: JobSpec
    job_fingerprint: str
    tokenizer_fingerprint: str
    bits_per_token: int
    patch_size_px: int
    size_px: int


@dataclass(frozen=True, kw_only=True)
class EndedItem:
    """How one item ended, before its row is in a ledger."""

    source: str
    outcome: Outcome
    reason: Reason | None
    detail: str | None


@dataclass(frozen=True, kw_only=True)
class ShardProgress:
    """What happened since the last one."""

    shard_id: str
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    ended: EndedItem | None = None
    """An item whose clips have all been read."""


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """A committed shard: its totals, and seconds by stage (for people, never stored in the dataset)."""

    shard_id: str
    totals: Totals
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Placed:
    """A clip with the place of its item in the shard."""

    clip: DecodedClip
    place: int

    @property
    def num_frames(self) -> int:
        return len(self.clip.frames_THWC)


@dataclass
class _Tally:
    """Running sums over one item's clips."""

    num_clips: int = 0
    num_frames: int = 0
    num_tokens: int = 0
    code_bytes: int = 0
    tokenized_ns: int = 0


def tokenize_shard(
    shard: PlannedShard,
    items: Iterable[Iterator[ItemEvent]],
    encoder: ClipEncoder,
    context: ShardContext,
    output: Folder,
) -> Iterator[ShardProgress | ShardReport]:
    """Tokenize one shard and commit it; yields progress, and the report last.

    ``items`` gives the events of the shard's sources, one iterator each, in plan order. The ledger is
    published before the token file, whose appearance is the commit; when anything raises, neither is.
    Raises ValueError where ``items`` does not match the shard, and what storage raises.
    """
    run = _ShardRun(shard, encoder, context)
    with output.publishing(shard_file(shard.shard_id)) as staged:
        with TokenShardWriter(staged.path, _metadata(shard, context), context.job.storage) as writer:
            for place, events in zip(range(len(shard.sources)), items, strict=True):
                for batch in run.take(place, events):
                    yield run.encode(batch, writer)
                yield run.ended(place)
            rest = run.batcher.rest()
            if rest:
                yield run.encode(rest, writer)
        ledger = [run.ledger_row(place) for place in range(len(shard.sources))]
        started = time.perf_counter()
        if output.exists(shard_file(shard.shard_id)):
            # Another actor was quicker. What is committed stays: outcomes that hang on time (a decoder that
            # was ended) could differ here, and ledger and tokens must be of one run.
            staged.drop()
            ledger = load_ledger(output, shard.shard_id)
        else:
            output.write_bytes(ledger_file(shard.shard_id), ledger_bytes(ledger))
    run.seconds["publish"] += time.perf_counter() - started
    yield ShardReport(shard_id=shard.shard_id, totals=totals_of(ledger), seconds=run.seconds)


class _ShardRun:
    """What one pass over a shard gathers: a tally and an end for each item, and where the time went."""

    def __init__(self, shard: PlannedShard, encoder: ClipEncoder, context: ShardContext) -> None:
        self.batcher: Batcher[_Placed] = Batcher(context.job.compute.batch_frames)
        self.seconds = {"wait": 0.0, "encode": 0.0, "pack": 0.0, "publish": 0.0}
        self._shard = shard
        self._encoder = encoder
        self._context = context
        self._tallies = [_Tally() for _ in shard.sources]
        self._ends: dict[int, ItemEnd] = {}

    def take(self, place: int, events: Iterator[ItemEvent]) -> Iterator[list[_Placed]]:
        """Read one item to its end; gives the batches that its clips completed."""
        started = time.perf_counter()
        for event in events:
            self.seconds["wait"] += time.perf_counter() - started
            if place in self._ends:
                raise ValueError("an item went on after its end")
            if isinstance(event, ItemEnd):
                self._ends[place] = event
            else:
                self._count(place, event)
                full = self.batcher.add(_Placed(event, place))
                if full:
                    yield full
            started = time.perf_counter()
        if place not in self._ends:
            raise ValueError("an item's events stopped without an end")

    def ended(self, place: int) -> ShardProgress:
        """The news that an item has ended."""
        end = self._ends[place]
        item = EndedItem(
            source=self._shard.sources[place].uri,
            outcome=end.outcome(self._tallies[place].num_clips),
            reason=end.reason,
            detail=end.detail,
        )
        return ShardProgress(shard_id=self._shard.shard_id, ended=item)

    def encode(self, batch: list[_Placed], writer: TokenShardWriter) -> ShardProgress:
        """Bits of a batch, packed and written as rows."""
        started = time.perf_counter()
        bits = self._encoder.encode([placed.clip.frames_THWC for placed in batch])
        encoded = time.perf_counter()
        num_tokens = 0
        for placed, bits_THWL in zip(batch, bits, strict=True):
            source = self._shard.sources[placed.place]
            row = _token_row(source, placed.clip, bits_THWL, self._context)
            tally = self._tallies[placed.place]
            tally.num_tokens += row.num_frames * row.height * row.width
            tally.code_bytes += len(row.codes)
            num_tokens += row.num_frames * row.height * row.width
            writer.add(row)
        self.seconds["encode"] += encoded - started
        self.seconds["pack"] += time.perf_counter() - encoded
        return ShardProgress(
            shard_id=self._shard.shard_id,
            clips=len(batch),
            frames=sum(placed.num_frames for placed in batch),
            tokens=num_tokens,
        )

    def ledger_row(self, place: int) -> LedgerRow:
        """The row of an item whose clips are all written."""
        tally = self._tallies[place]
        return ledger_row(
            shard_id=self._shard.shard_id,
            source_index=self._shard.first_source_index + place,
            source=self._shard.sources[place],
            end=self._ends[place],
            num_clips=tally.num_clips,
            num_frames=tally.num_frames,
            num_tokens=tally.num_tokens,
            code_bytes=tally.code_bytes,
            tokenized_ns=tally.tokenized_ns,
        )

    def _count(self, place: int, clip: DecodedClip) -> None:
        tally = self._tallies[place]
        tally.num_clips += 1
        tally.num_frames += len(clip.frames_THWC)
        tally.tokenized_ns += clip.end_ns - clip.start_ns


def _token_row(source: PlannedSource, clip: DecodedClip, bits_THWL: Bits, context: ShardContext) -> TokenRow:
    num_frames, height, width, bits_per_token = bits_THWL.shape
    if num_frames != len(clip.frames_THWC) or bits_per_token != context.bits_per_token:
        raise ValueError(f"the encoder gave bits {bits_THWL.shape} for frames {clip.frames_THWC.shape}")
    return TokenRow(
        clip_id=clip_id(source.uri, None, source.span_ns, clip.start_ns, context.job.sampling.rule()),
        source=source.uri,
        key=None,
        start_ns=clip.start_ns,
        end_ns=clip.end_ns,
        fps=clip.fps,
        frame_pts_ns=clip.frame_pts_ns.tolist(),
        num_frames=num_frames,
        height=height,
        width=width,
        source_height=clip.source_height,
        source_width=clip.source_width,
        codes=pack_bits(bits_THWL.reshape(-1, bits_per_token)),
        metadata=source.metadata,
    )


def _metadata(shard: PlannedShard, context: ShardContext) -> ShardMetadata:
    return ShardMetadata(
        bits_per_token=context.bits_per_token,
        patch_size_px=context.patch_size_px,
        tokenizer_fingerprint=context.tokenizer_fingerprint,
        job_fingerprint=context.job_fingerprint,
        shard_id=shard.shard_id,
    )
