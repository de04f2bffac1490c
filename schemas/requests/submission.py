"""Names of submitted jobs, derived from the job's content, so that equal jobs have equal names."""

import re
from typing import Any

from bitmill.schemas.ids import canonical_json, content_id
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields

_NAME = re.compile(r"^(?P<base>bitmill-[0-9a-f]{16})(-(?P<attempt>[1-9]\d*))?$")

_PLUGIN_FIELDS = {"plugin", "options"}
"""They are fields of their own of the fingerprint."""


def submission_name(job: JobSpec, places: dict[str, Any]) -> str:
    """Return the id of a job's first attempt: bitmill- and 16 hex digits over its fingerprint and places.

    ``places`` are the normalised source and output. Fields that affect no output byte (actors, decoders, time
    limits) are excluded, because the dataset is the same with other values.
    """
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=canonical_json(job.tokenizer.model_dump(mode="json", exclude=_PLUGIN_FIELDS)),
        size_px=job.frames.size_px or 0,
        device=job.compute.device,
        shard_version=job.storage.shard_version or 1,
        pixel_rule=job.frames.pixel_rule or 1,
    )
    return f"bitmill-{content_id('submission', [fields, places])[:16]}"


def attempt_name(base: str, attempt: int) -> str:
    """Return the id of an attempt, counted from 1."""
    return base if attempt == 1 else f"{base}-{attempt}"


def split_name(name: str) -> tuple[str, int] | None:
    """Return base and attempt of an id made here, or None for any other id."""
    match = _NAME.match(name)
    return (match["base"], int(match["attempt"] or 1)) if match else None
