"""Makes an item's ledger row."""

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.items import ItemEnd, ItemStart
from bitmill.schemas.dataset.plan_schema import PlannedSource


def ledger_row(
    *,
    shard_id: str,
    source_index: int,
    source: PlannedSource,
    start: ItemStart,
    end: ItemEnd,
    num_clips: int,
    num_frames: int,
    num_tokens: int,
    code_bytes: int,
    tokenized_ns: int,
    shard_version: int,
) -> LedgerRow:
    """Returns the row of a finished item; the outcome follows from the end's reason and the clips kept."""
    facts = end.facts
    return {
        "shard_id": shard_id,
        "source_index": source_index,
        "source": source.uri,
        "key": start.key,
        "start_ns": source.start_ns,
        "end_ns": source.end_ns,
        "size_bytes": start.size_bytes,
        "outcome": end.outcome(num_clips).value,
        "reason": end.reason.value if end.reason else None,
        "detail": end.detail,
        "num_clips": num_clips,
        "num_frames": num_frames,
        "num_tokens": num_tokens,
        "code_bytes": code_bytes,
        "tokenized_ns": tokenized_ns,
        "media": facts.media,
        "container": facts.container,
        "codec": facts.codec,
        "decoder": facts.decoder,
        "source_height": facts.height,
        "source_width": facts.width,
        "source_fps": facts.fps,
        "duration_ns": facts.duration_ns,
        "num_source_frames": end.num_source_frames,
        **({"num_dropped_frames": end.num_dropped_frames} if shard_version > 1 else {}),
    }
