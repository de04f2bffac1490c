"""A job as users ask for it: a job file, or a source and an output; on the command line and in the API."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitmill.bsq_model.bundled import BUNDLED, DEFAULT_TOKENIZER
from bitmill.jobs.preparation.job_files import read_job
from bitmill.schemas.requests.job import JobSpec, load_job, make_job

MANIFEST_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")


def requested_job(
    source: str | Path | Mapping[str, Any],
    output: str | Path | None,
    *,
    tokenizer: str | Path | None,
    overrides: Mapping[str, Any],
    origin: str,
) -> JobSpec:
    """The job of a source and an output; without an output, ``source`` is a job file or its mapping.

    ``tokenizer`` and ``overrides`` (dotted keys) replace the job's keys. Raises BadJobError.
    """
    # The tokenizer comes first, so that an override may change a key of it.
    changes: dict[str, Any] = {}
    if tokenizer is not None:
        changes["tokenizer"] = _tokenizer_document(str(tokenizer))
    changes |= overrides
    if isinstance(source, Mapping):
        if output is not None:
            changes["output"] = str(output)
        return make_job({**source}, origin=origin, overrides=changes)
    if output is None:
        return load_job(read_job(str(source)), origin=str(source), overrides=changes)
    document: dict[str, Any] = {
        "version": 1,
        "source": {source_kind(str(source)): str(source)},
        "output": str(output),
        "tokenizer": _tokenizer_document(DEFAULT_TOKENIZER),
    }
    return make_job(document, origin=origin, overrides=changes)


def source_kind(source: str) -> str:
    """The key of ``source`` in a job: a manifest by its suffix, else paths."""
    return "manifest" if source.lower().endswith(MANIFEST_SUFFIXES) else "paths"


def _tokenizer_document(name: str) -> dict[str, Any]:
    if name in BUNDLED:
        return {"bundled": name}
    # Imports torch.
    from bitmill.jobs.preparation.models.find_tokenizers import tokenizer_spec

    return tokenizer_spec(name).model_dump(exclude_unset=True)
