"""Content ids: what a thing is made of is its name, so that doing the same work again is safe."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: one text for one value, on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(kind: str, value: Any) -> str:
    """32 hex digits (128 bits of SHA-256) over a kind and a JSON value.

    ``kind`` keeps ids of different things apart even where their values coincide.
    """
    return hashlib.sha256(f"{kind}\n{canonical_json(value)}".encode()).hexdigest()[:32]


def source_id(uri: str, size_bytes: int, version: str, start_ns: int | None, end_ns: int | None) -> str:
    """Identity of a planned source: where it is, which bytes it had, and which span is wanted."""
    return content_id("source", [uri, size_bytes, version, start_ns, end_ns])


def shard_id(job_fingerprint: str, source_ids: Sequence[str], attempt: int = 1) -> str:
    """Name of a shard: the job that makes it, the sources that it holds, in order, and a later attempt."""
    again = [attempt] if attempt > 1 else []
    return content_id("shard", [job_fingerprint, list(source_ids), *again])


def clip_id(
    uri: str, key: str | None, span_ns: tuple[int | None, int | None], start_ns: int, sampling: dict[str, Any]
) -> str:
    """Stable id of a clip: source, member key, wanted span, the clip's start, sampling rule.

    The start is the sampling time of the clip's first frame, which no other clip of the item shares (its
    presentation time may be shared, where a slow source is held over several clips). The id does not depend
    on the tokenizer: two datasets of one sampling rule name the same clips alike.
    """
    return content_id("clip", [uri, key, list(span_ns), start_ns, sampling])
