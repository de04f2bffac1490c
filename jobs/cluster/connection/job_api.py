"""Client of Ray's HTTP job API: submit, query, follow and stop jobs. Errors become one sentence."""

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobSubmissionClient

from bitmill.jobs.cluster.connection.authentication import token_error
from bitmill.schemas.errors import InfrastructureError, UsageError

_CONNECT_S = 10.0

_TAIL_ATTEMPTS = 5
"""Consecutive lost connections without any output after which following a job fails."""

_CONNECTION_ERRORS = (OSError, RuntimeError, RayError, aiohttp.ClientError)


@dataclass(frozen=True, kw_only=True)
class SubmittedJob:
    """The cluster's record of one submitted job."""

    submission_id: str
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED, as named by Ray."""
    message: str
    exit_code: int | None
    metadata: dict[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in {"STOPPED", "SUCCEEDED", "FAILED"}


class SubmissionExistsError(Exception):
    """Another client submitted a job with this id at the same time."""


class JobApi:
    """Client of one cluster's job server at an HTTP address (http://HEAD:8265).

    The constructor and methods raise UsageError for an invalid address or a missing or wrong token, and
    InfrastructureError if the server does not answer.
    """

    def __init__(self, address: str) -> None:
        self.address = _http_address(address)
        _require_listener(self.address)
        # These variables would override the given address in Ray; here the given address must win.
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address
        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger("ray._private.authentication.http_token_authentication").setLevel(logging.ERROR)
        with self._errors():
            self._client = JobSubmissionClient(self.address)

    def submit(
        self,
        submission_id: str,
        entrypoint: str,
        package: Path,
        variables: dict[str, str],
        metadata: dict[str, str],
    ) -> None:
        """Upload a package (a zip; equal bytes only once) and start a job in it.

        ``variables`` are set for the driver and all workers. Raises SubmissionExistsError if the id is taken.
        """
        with self._errors():
            try:
                self._client.submit_job(
                    submission_id=submission_id,
                    entrypoint=entrypoint,
                    runtime_env={"working_dir": str(package), "env_vars": variables},
                    metadata=metadata,
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    raise SubmissionExistsError(submission_id) from error
                raise

    def jobs(self) -> list[SubmittedJob]:
        """Returns all submitted jobs that the cluster has on record."""
        with self._errors():
            found: list[Any] = self._client.list_jobs()
        return [_of(one) for one in found if one.submission_id is not None]

    def job(self, submission_id: str) -> SubmittedJob | None:
        """Returns one job, or None if the cluster does not know the id."""
        return next((job for job in self.jobs() if job.submission_id == submission_id), None)

    def stop(self, submission_id: str) -> bool:
        """Send the driver SIGTERM, without waiting. Returns False if it had already ended."""
        with self._errors():
            return self._client.stop_job(submission_id)

    def logs(self, submission_id: str) -> str:
        """Returns the driver's output so far."""
        with self._errors():
            return self._client.get_job_logs(submission_id)

    def follow(self, submission_id: str) -> Generator[str]:
        """Yields the driver's output from its beginning to its end, as it is printed.

        Reconnects if the connection is lost, without repeating output.
        """
        given, fruitless = 0, 0
        while True:
            skip, before = given, given
            try:
                for text in _run(lambda: cast(Any, self._client.tail_job_logs(submission_id))):
                    fresh = text[skip:]
                    skip = max(0, skip - len(text))
                    given += len(fresh)
                    if fresh:
                        yield fresh
                return
            except _CONNECTION_ERRORS:
                fruitless = fruitless + 1 if given == before else 0
                if fruitless == _TAIL_ATTEMPTS:
                    with self._errors():
                        raise
                time.sleep(1.0)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise token_error(self.address) from error
        except (OSError, aiohttp.ClientError) as error:
            raise InfrastructureError(
                f"The job server at {self.address} does not answer. Is the cluster up, and the port right?"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise InfrastructureError(
                f"The job server at {self.address} reported an error: {_brief(error)}"
            ) from error


def _run(make: Callable[[], AsyncGenerator[str]]) -> Generator[str]:
    """Yields an asynchronous generator's values synchronously, in this thread."""
    loop = asyncio.new_event_loop()
    generator = make()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(generator))
            except StopAsyncIteration:
                return
    finally:
        with suppress(*_CONNECTION_ERRORS):
            loop.run_until_complete(generator.aclose())
        loop.close()


def _of(details: Any) -> SubmittedJob:
    return SubmittedJob(
        submission_id=details.submission_id,
        state=str(details.status),
        message=details.message or "",
        exit_code=details.driver_exit_code,
        metadata=details.metadata or {},
    )


def _http_address(address: str) -> str:
    text = address if "://" in address else f"http://{address}"
    # A port that is no number, or a host whose name is none, is a ValueError.
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.username or parts.password:
            raise UsageError(
                f"The address of {parts.hostname} contains credentials; set Ray's token elsewhere."
            )
        if parts.scheme in {"http", "https"} and parts.port != 0 and (parts.hostname or "").encode("idna"):
            return text.rstrip("/")
    raise UsageError(
        f"{address} is not the address of a job server; give that of the cluster's dashboard, like "
        "http://HEAD:8265."
    )


def _require_listener(address: str) -> None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InfrastructureError(
            f"No job server at {address}: {error.strerror or error}. Is the cluster up, and the port right?"
        ) from error


def _brief(error: BaseException) -> str:
    """Returns the last line of the server's message, which for a traceback is the error itself."""
    text = re.sub(r"\\n", "\n", str(error))
    lines = [line.strip(" '\".") for line in text.splitlines() if line.strip(" '\".")]
    return (lines[-1] if lines else type(error).__name__)[:300]
