"""Submits (idempotently), follows, shows and stops jobs on a cluster."""

import math
import tempfile
import time
from pathlib import Path

import yaml

from bitmill.jobs.cluster.connection.job_api import JobApi, SubmissionExistsError, SubmittedJob
from bitmill.jobs.commands.remote.code_package import JOB_FILE, write_package
from bitmill.jobs.console import Console, print_output
from bitmill.jobs.preparation.submission_id import local_places, submission_of, travelling
from bitmill.jobs.progress.status_writer import SUBMISSION_VARIABLE
from bitmill.pipeline.dataset.dataset_status import DatasetStatus, dataset_status
from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.errors import BadJobError, BitmillError, InfrastructureError, InterruptedJobError
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.submission import attempt_name, split_name

ENTRYPOINT = f"exec python -m bitmill.jobs tokenize {JOB_FILE} --address auto"
"""``exec``, so that Ray's SIGTERM reaches the driver itself and its exit code is the job's."""

OUTPUT_KEY = "bitmill_output"
"""Metadata key of Ray's job record: the dataset's folder."""

STOP_KEY = "bitmill_stop_s"
"""Metadata key of Ray's job record: seconds between SIGTERM and SIGKILL of the driver."""

_CLEANUP_S = 60
"""Time after the grace period to end the actors and write the status."""

_POLL_S = 1.0


def submit(job: JobSpec, api: JobApi, *, follow: bool, console: Console) -> int:
    """Start a job, or follow the one that is already running. Returns the job's exit code.

    Without ``follow``, returns the code of a job that has ended, or 0. Raises BadJobError for URIs with
    credentials, errors of JobApi, and InterruptedJobError if the user stops following.
    """
    base, text = submission_of(job), yaml.safe_dump(travelling(job), sort_keys=False)
    newest = newest_attempt(api, base)
    if newest is not None and newest.has_ended and (seen := _complete(job.output)) is not None:
        console.print(f"nothing to do: {newest.submission_id} completed {seen.uri}.")
        return EXIT_COMPLETE if seen.all_ok else EXIT_NOT_ALL_OK
    if newest is not None and not newest.has_ended:
        name = newest.submission_id
        console.print(f"{name} is already {newest.state.lower()} on {api.address}.")
    else:
        name = attempt_name(base, 1 if newest is None else _attempt(newest) + 1)
        _start(api, job, text, name, console)
    if not follow:
        console.print(f"follow it with: bitmill logs {name} --follow --address {api.address}")
        return EXIT_COMPLETE
    return follow_to_end(api, name)


def follow_to_end(api: JobApi, name: str) -> int:
    """Print a job's log until it ends; returns its exit code."""
    try:
        print_log(api, name)
        job = await_end(api, name)
    except KeyboardInterrupt as interrupt:
        raise InterruptedJobError(
            f"No longer following; the job continues. To stop it: bitmill stop {name} --address {api.address}"
        ) from interrupt
    if job.exit_code is not None and job.exit_code >= 0:
        return job.exit_code
    if job.state == "STOPPED":
        raise InterruptedJobError(f"{name} was stopped; committed shards stay. Submit it again to resume.")
    if job.exit_code is not None:
        raise InfrastructureError(
            f"The driver was killed (signal {-job.exit_code}). Submit it again to resume."
        )
    reason = next((line.strip() for line in job.message.splitlines() if line.strip()), "no reason given")
    raise InfrastructureError(f"{name} did not run: {reason[:300]} Fix that and submit it again.")


def print_log(api: JobApi, name: str) -> None:
    """Print a job's log until it ends."""
    for text in api.follow(name):
        print_output(text)


def await_end(api: JobApi, name: str, *, deadline_s: float | None = None) -> SubmittedJob:
    """Wait until a job ends. Raises InfrastructureError if its record is lost, or at the deadline."""
    end = None if deadline_s is None else time.monotonic() + deadline_s
    while True:
        job = api.job(name)
        if job is None:
            raise InfrastructureError(
                f"The cluster at {api.address} no longer knows {name}; its head may have restarted. "
                "bitmill status DATASET shows its progress; submit it again to resume."
            )
        if job.has_ended:
            return job
        if end is not None and time.monotonic() > end:
            raise InfrastructureError(
                f"{name} has not ended after {deadline_s:.0f} s; see the cluster's logs."
            )
        time.sleep(_POLL_S)


def stop(api: JobApi, name: str, console: Console) -> None:
    """Stop a job gracefully: running shards finish within the grace period or are discarded."""
    job = require_job(api, name)
    if job.has_ended or not api.stop(job.submission_id):
        console.print(f"{job.submission_id} has already ended ({job.state.lower()}).")
        return
    console.print(f"stopping {job.submission_id} …")
    stop_s = float(job.metadata.get(STOP_KEY, _CLEANUP_S))
    ended = await_end(api, job.submission_id, deadline_s=stop_s + 30.0)
    console.print(f"{ended.submission_id} has ended ({ended.state.lower()}). Submit it again to resume.")


def newest_attempt(api: JobApi, base: str) -> SubmittedJob | None:
    """Returns the newest attempt of a job that the cluster has on record, or None."""
    attempts = [job for job in api.jobs() if (split_name(job.submission_id) or ("", 0))[0] == base]
    return max(attempts, key=_attempt, default=None)


def require_job(api: JobApi, name: str) -> SubmittedJob:
    """Returns a job by id; for a first attempt's id, the newest attempt. Raises BadJobError if unknown."""
    base, attempt = split_name(name) or (name, 0)
    job = newest_attempt(api, base) if attempt == 1 else api.job(name)
    if job is None:
        raise BadJobError(
            f"The cluster at {api.address} knows no job {name}. bitmill status DATASET needs only "
            "the dataset's folder."
        )
    return job


def _start(api: JobApi, job: JobSpec, text: str, name: str, console: Console) -> None:
    for place in local_places(job):
        console.print(
            f"note: {place} is a local path; every node of the cluster must see the same files there."
        )
    stop_s = str(math.ceil(job.compute.grace_s) + _CLEANUP_S)
    with tempfile.TemporaryDirectory(prefix="bitmill-") as folder:
        package = Path(folder) / "bitmill.zip"
        write_package(package, text)
        try:
            api.submit(
                name,
                ENTRYPOINT,
                package,
                variables={SUBMISSION_VARIABLE: name, "RAY_JOB_STOP_WAIT_TIME_S": stop_s},
                metadata={OUTPUT_KEY: normalise(job.output), STOP_KEY: stop_s},
            )
        except SubmissionExistsError:
            console.print(f"{name} was just submitted by someone else.")
            return
    console.print(f"submitted {name} to {api.address}")


def _attempt(job: SubmittedJob) -> int:
    return (split_name(job.submission_id) or ("", 0))[1]


def _complete(output: str) -> DatasetStatus | None:
    """Returns the dataset's status if it is readable from here and complete, else None."""
    try:
        seen = dataset_status(Folder(output))
    except BitmillError:
        return None
    return seen if seen.is_complete else None
