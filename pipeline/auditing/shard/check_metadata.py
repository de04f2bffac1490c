"""Compares a token shard's metadata with what the dataset's card says; pure logic."""

from collections.abc import Iterator
from typing import Any

from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.models.geometry import Code
from bitmill.schemas.reports.audit_findings import Kind

_TOKENIZER = {
    "tokenizer_fingerprint": "tokenizer",
    "code": "code",
    "patch_px": "patch_px",
    "frames_per_token": "frames_per_token",
    "layout": "layout",
    "schedules": "schedules",
}
_JOB = {"job_fingerprint": "job", "format_version": "format version", "pixel_rule": "pixel rule"}


def metadata_faults(found: ShardMetadata, expected: ShardMetadata) -> Iterator[tuple[Kind, str]]:
    """Yield in what a shard's metadata differs from the card's, at most a sentence for each kind."""
    for kind, names in ((Kind.WRONG_TOKENIZER, _TOKENIZER), (Kind.WRONG_JOB, _JOB)):
        differences = [
            f"its {word} is {_text(own)}, the dataset's is {_text(wanted)}"
            for name, word in names.items()
            if (own := getattr(found, name)) != (wanted := getattr(expected, name))
            # Version 1 does not store the pixel rule.
            and not (name == "pixel_rule" and found.format_version == 1)
        ]
        if differences:
            yield kind, "; ".join(differences)


def _text(value: Any) -> str:
    if isinstance(value, Code):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.model_dump().items())
    if isinstance(value, dict):
        return "another one"
    return "×".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
