"""A job's submission id on a cluster, and the paths that it reads and writes."""

from typing import Any

from bitmill.pipeline.storage import is_local, normalise
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.submission import submission_name


def submission_of(job: JobSpec) -> str:
    """Returns the submission id of a job's first attempt. Raises BadJobError for URIs with credentials."""
    return submission_name(job, places_of(job))


def places_of(job: JobSpec) -> dict[str, Any]:
    """Returns the normalised paths that a job reads and writes."""
    source = job.source
    return {
        "output": normalise(job.output),
        "source.paths": sorted(map(normalise, source.paths)) if source.paths is not None else None,
        "source.manifest": normalise(source.manifest) if source.manifest is not None else None,
    }


def local_places(job: JobSpec) -> list[str]:
    """Returns a job's local paths, which every node of a cluster must see."""
    given = [*(job.source.paths or []), job.source.manifest, job.output, job.tokenizer.path]
    return [place for one in given if one is not None and is_local(place := normalise(one))]


def _as_named(path: str) -> str:
    """Normalise a path; keeps a URI's trailing slash, which means a folder if a file has the same name."""
    place = normalise(path)
    return f"{place}/" if path.endswith("/") and not is_local(place) else place


def travelling(job: JobSpec) -> dict[str, Any]:
    """Returns the job as a document with absolute paths, valid in any working directory."""
    document = job.model_dump(mode="json", exclude_unset=True)
    document["output"] = normalise(job.output)
    for key, value in document["source"].items():
        document["source"][key] = list(map(_as_named, value)) if key == "paths" else normalise(value)
    if job.tokenizer.path is not None:
        document["tokenizer"]["path"] = normalise(job.tokenizer.path)
    return document
