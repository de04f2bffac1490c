"""The settings that decide a job's bytes: equal ones resume a dataset, others need a folder of their own."""

from typing import Any

from bitmill.schemas.ids import content_id
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import JobSpec, ShardVersion

SHARD_VERSION_FIELD = "storage.shard_version"
"""Its key in ``fingerprint_fields``; absent for version 1, so that older datasets keep their fingerprint."""

PIXEL_RULE_FIELD = "frames.pixel_rule"
"""Its key in ``fingerprint_fields``; absent for rule 1, so that older datasets keep their fingerprint."""

BEFORE_FIELD: dict[str, Any] = {
    PIXEL_RULE_FIELD: 1,
    SHARD_VERSION_FIELD: 1,
    "sampling.tail": "pad",
    "sampling.seek": False,
    "frames.buckets": None,
    "frames.native": None,
    "frames.positions": None,
    "tokenizer.plugin": None,
    "tokenizer.options": {},
}
"""Fields of ``fingerprint_fields`` that came later, with the value that jobs had before."""


def fingerprint_fields(
    job: JobSpec,
    *,
    tokenizer_fingerprint: str,
    size_px: int | None,
    device: str,
    pixel_rule: PixelRule,
    shard_version: ShardVersion,
    positions: str | None = None,
) -> dict[str, Any]:
    """What decides a job's bytes, by dotted name: two runs with equal fields write equal shards.

    ``size_px`` is the side of the job's squares, None if it has none; ``positions`` the rule by which the
    tokenizer takes sizes that it was not trained at, if it does.

    A field that came later is absent at the value that jobs had before, so that no shard gets another name.
    """
    fields: dict[str, Any] = {
        "tokenizer": tokenizer_fingerprint,
        "sampling.fps": job.sampling.fps,
        "sampling.clip_frames": job.sampling.num_clip_frames,
        "sampling.min_frames": job.sampling.min_frames,
        "frames.size_px": size_px,
        "limits.max_pixels": job.limits.max_pixels,
        "limits.max_frames": job.limits.max_frames,
        "storage.codes_compression": job.storage.codes_compression,
        "storage.row_group_bytes": job.storage.row_group_bytes,
        "compute.device": device,
        "compute.dtype": job.compute.dtype,
        "compute.threads": job.compute.threads if device == "cpu" else None,
        "compute.decoder": job.compute.decoder,
        "compute.batch_frames": job.compute.batch_frames,
    }
    frames = {"buckets": None, "native": None} | job.frames.model_dump(mode="json", exclude_none=True)
    later = {
        PIXEL_RULE_FIELD: pixel_rule,
        SHARD_VERSION_FIELD: shard_version,
        "sampling.tail": job.sampling.tail,
        "sampling.seek": job.sampling.seek,
        "frames.buckets": frames["buckets"],
        "frames.native": frames["native"],
        "frames.positions": positions,
        "tokenizer.plugin": job.tokenizer.plugin,
        "tokenizer.options": job.tokenizer.options,
    }
    return fields | {name: value for name, value in later.items() if value != BEFORE_FIELD[name]}


def job_fingerprint(fields: dict[str, Any]) -> str:
    """Return the content id over ``fingerprint_fields``, which is part of every shard's name."""
    return content_id("job", fields)
