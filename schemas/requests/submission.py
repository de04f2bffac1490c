"""Names of submitted jobs: derived from what the job makes, so that the same job has the same name."""

import re
from typing import Any

from bitmill.schemas.ids import canonical_json, content_id
from bitmill.schemas.requests.job import JobSpec, fingerprint_fields

_NAME = re.compile(r"^(?P<base>bitmill-[0-9a-f]{16})(-(?P<attempt>[1-9]\d*))?$")


def submission_name(job: JobSpec, places: dict[str, Any]) -> str:
    """The id of a job's first attempt: bitmill- and 16 hex digits over its bytes' makers and its places.

    ``places`` are the normalised source and output. Fields that touch no byte (actors, decoders, limits of
    time) do not enter: with others, it is still this dataset that is made.
    """
    fields = fingerprint_fields(
        job,
        tokenizer_fingerprint=canonical_json(job.tokenizer.model_dump(mode="json")),
        size_px=job.frames.size_px or 0,
        device=job.compute.device,
        pixel_rule=job.frames.pixel_rule or 1,
    )
    return f"bitmill-{content_id('submission', [fields, places])[:16]}"


def attempt_name(base: str, attempt: int) -> str:
    """The id of an attempt, counted from 1."""
    return base if attempt == 1 else f"{base}-{attempt}"


def split_name(name: str) -> tuple[str, int] | None:
    """Base and attempt of an id of ours, or null for a foreign one."""
    match = _NAME.match(name)
    return (match["base"], int(match["attempt"] or 1)) if match else None
