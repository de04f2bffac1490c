"""Content ids: hashes of what a thing is made of, so that repeating the same work is safe."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no white space: the same text for equal values on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(kind: str, value: Any) -> str:
    """Return 32 hex digits (128 bits of SHA-256) over a kind and a JSON value.

    ``kind`` makes ids of different kinds of things differ even if their values are equal.
    """
    return hashlib.sha256(f"{kind}\n{canonical_json(value)}".encode()).hexdigest()[:32]


def source_id(uri: str, size_bytes: int, version: str, start_ns: int | None, end_ns: int | None) -> str:
    """Return the id of a planned source: its URI, size and version, and the wanted span."""
    return content_id("source", [uri, size_bytes, version, start_ns, end_ns])


def shard_id(job_fingerprint: str, source_ids: Sequence[str], attempt: int = 1) -> str:
    """Return a shard's id: the job that makes it, its sources in order, and the attempt if above 1."""
    again = [attempt] if attempt > 1 else []
    return content_id("shard", [job_fingerprint, list(source_ids), *again])


def clip_id(
    uri: str, key: str | None, span_ns: tuple[int | None, int | None], start_ns: int, sampling: dict[str, Any]
) -> str:
    """Return a clip's stable id: source, member key, wanted span, the clip's start, sampling rule.

    The start is the sampling time of the clip's first frame, which is unique within the item (presentation
    times may repeat, if a slow source's frame fills several clips). The id does not depend on the tokenizer:
    datasets with equal sampling rules give the same clips the same ids.
    """
    return content_id("clip", [uri, key, list(span_ns), start_ns, sampling])
