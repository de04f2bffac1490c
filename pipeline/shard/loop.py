"""One shard, from decoded items to committed files. Does not know where the items come from."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.encoding import Bits, ClipEncoder
from pipeline.items import DecodedClip, ItemEnd, ItemEvent
from pipeline.shard.batching import batches
from pipeline.shard.ledger import LedgerRow, ledger_bytes, ledger_row, totals_of
from pipeline.shard.writer import TokenRow, TokenShardWriter
from pipeline.storage import Folder
from schemas.dataset import Totals, ledger_file, shard_file
from schemas.ids import clip_id
from schemas.job import JobSpec
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
class ShardProgress:
    """What happened since the last one."""

    shard_id: str
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    ended: tuple[LedgerRow, ...] = ()
    """Ledger rows of items whose clips have all been read."""


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


@dataclass
class _State:
    """What the loop has gathered: a tally and an end for each item, and where the time went."""

    tallies: dict[int, _Tally] = field(default_factory=dict)
    ends: dict[int, ItemEnd] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: {"wait": 0.0, "encode": 0.0, "pack": 0.0, "publish": 0.0}
    )


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
    state = _State()
    with output.publishing(shard_file(shard.shard_id)) as staged:
        with TokenShardWriter(staged, _metadata(shard, context), context.job.storage) as writer:
            clips = _clips(shard, items, state)
            for batch in batches(clips, context.job.compute.batch_frames):
                rows = _encoded_rows(shard, batch, encoder, context, state)
                for placed, row in zip(batch, rows, strict=True):
                    _count(state.tallies[placed.place], row)
                    writer.add(row)
                yield ShardProgress(
                    shard_id=shard.shard_id,
                    clips=len(rows),
                    frames=sum(row.num_frames for row in rows),
                    tokens=sum(row.num_frames * row.height * row.width for row in rows),
                )
        ledger = [_ledger_row(shard, place, state) for place in range(len(shard.sources))]
        started = time.perf_counter()
        output.write_bytes(ledger_file(shard.shard_id), ledger_bytes(ledger))
    state.seconds["publish"] += time.perf_counter() - started
    yield ShardProgress(shard_id=shard.shard_id, ended=tuple(ledger))
    yield ShardReport(shard_id=shard.shard_id, totals=totals_of(ledger), seconds=state.seconds)


def _clips(shard: PlannedShard, items: Iterable[Iterator[ItemEvent]], state: _State) -> Iterator[_Placed]:
    for place, (_, events) in enumerate(zip(shard.sources, items, strict=True)):
        state.tallies[place] = _Tally()
        started = time.perf_counter()
        for event in events:
            state.seconds["wait"] += time.perf_counter() - started
            if place in state.ends:
                raise ValueError("an item went on after its end")
            if isinstance(event, ItemEnd):
                state.ends[place] = event
            else:
                yield _Placed(event, place)
            started = time.perf_counter()
        if place not in state.ends:
            raise ValueError("an item's events stopped without an end")


def _encoded_rows(
    shard: PlannedShard, batch: list[_Placed], encoder: ClipEncoder, context: ShardContext, state: _State
) -> list[TokenRow]:
    started = time.perf_counter()
    bits = encoder.encode([placed.clip.frames_THWC for placed in batch])
    encoded = time.perf_counter()
    rows = [
        _token_row(shard.sources[placed.place], placed.clip, bits_THWL, context)
        for placed, bits_THWL in zip(batch, bits, strict=True)
    ]
    state.seconds["encode"] += encoded - started
    state.seconds["pack"] += time.perf_counter() - encoded
    return rows


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


def _count(tally: _Tally, row: TokenRow) -> None:
    tally.num_clips += 1
    tally.num_frames += row.num_frames
    tally.num_tokens += row.num_frames * row.height * row.width
    tally.code_bytes += len(row.codes)
    tally.tokenized_ns += row.end_ns - row.start_ns


def _ledger_row(shard: PlannedShard, place: int, state: _State) -> LedgerRow:
    tally = state.tallies[place]
    return ledger_row(
        shard_id=shard.shard_id,
        source_index=shard.first_source_index + place,
        source=shard.sources[place],
        end=state.ends[place],
        num_clips=tally.num_clips,
        num_frames=tally.num_frames,
        num_tokens=tally.num_tokens,
        code_bytes=tally.code_bytes,
        tokenized_ns=tally.tokenized_ns,
    )


def _metadata(shard: PlannedShard, context: ShardContext) -> ShardMetadata:
    return ShardMetadata(
        bits_per_token=context.bits_per_token,
        patch_size_px=context.patch_size_px,
        tokenizer_fingerprint=context.tokenizer_fingerprint,
        job_fingerprint=context.job_fingerprint,
        shard_id=shard.shard_id,
    )
