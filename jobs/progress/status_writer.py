"""Writes status.json while a job runs, in a background thread that neither blocks nor fails the job."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from bitmill.jobs.progress.run_counts import Counts, RunCounts
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import EXIT_UNEXPECTED, BitmillError, InterruptedJobError
from bitmill.schemas.reports.status_file import (
    STATUS_FILE,
    WRITE_EVERY_S,
    DriverPlace,
    DriverState,
    JobStatus,
)

SUBMISSION_VARIABLE = "BITMILL_SUBMISSION_ID"
"""Set by ``bitmill submit`` in the driver's environment."""

_LAST_WRITE_S = 20.0
"""Timeout for the last write; after it the status file stays out of date."""


class StatusWriter(AbstractContextManager["StatusWriter"]):
    """Context manager that writes a job's status to the output folder every few seconds.

    Nothing is written before ``claim`` or ``run`` confirms that the folder belongs to this job. The last
    status says how the block ended: by ``finish``, or by the error that left it.
    """

    def __init__(self, notify: Callable[[str], None], *, write_every_s: float = WRITE_EVERY_S) -> None:
        """``notify`` receives a sentence for the user where the file cannot be written."""
        self._notify = notify
        self._every_s = write_every_s
        self._started_at = _now()
        self._place = DriverPlace(
            host=socket.gethostname(), pid=os.getpid(), submission_id=os.environ.get(SUBMISSION_VARIABLE)
        )
        self._folder: Folder | None = None
        self._run_counts: RunCounts | None = None
        self._end: dict[str, Any] | None = None
        self._wake = threading.Event()
        self._written = False
        self._complained = False
        self._thread = threading.Thread(target=self._write_on, name="bitmill-status", daemon=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._end is None:
            self._end = _end_of(error)
        if self._thread.is_alive():
            self._wake.set()
            self._thread.join(_LAST_WRITE_S)

    def claim(self, folder: Folder) -> None:
        """Planning has started in the job's folder; written only if it outlasts one write interval."""
        self._folder = folder
        if not self._thread.is_alive():
            self._thread.start()

    def run(self, folder: Folder, run_counts: RunCounts) -> None:
        """Shards are running; writes the status from ``run_counts`` immediately."""
        self._run_counts = run_counts
        self.claim(folder)
        self._wake.set()

    def finish(self, *, all_ok: bool, exit_code: int) -> None:
        """Record that every planned shard is committed."""
        state = DriverState.COMPLETE if all_ok else DriverState.COMPLETE_WITH_FAILURES
        self._end = {"state": state, "exit_code": exit_code}

    def _write_on(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            self._wake.clear()
            ended = self._end is not None
            # A planning error writes nothing to a folder that has no status yet.
            if not ended or self._written or self._run_counts is not None:
                self._write()
                if ended:
                    self._sweep()
            if ended:
                return

    def _write(self) -> None:
        if self._folder is None:
            return
        try:
            self._publish(self._folder)
        except (BitmillError, OSError) as error:
            if not self._complained:
                self._complained = True
                self._notify(f"note: {STATUS_FILE} cannot be written; the job continues ({error})")

    def _publish(self, folder: Folder) -> None:
        """Write the status, with one retry: the driver may just have swept the staged file."""
        try:
            folder.write_bytes(STATUS_FILE, self._status().to_json())
        except (BitmillError, OSError):
            folder.write_bytes(STATUS_FILE, self._status().to_json())
        self._written = True

    def _sweep(self) -> None:
        if self._folder is not None:
            with suppress(BitmillError, OSError):
                self._folder.sweep_staging()

    def _status(self) -> JobStatus:
        counts = self._run_counts.counts if self._run_counts is not None else None
        state = DriverState.RUNNING if counts is not None else DriverState.PLANNING
        told: dict[str, Any] = {
            "state": state,
            "driver": self._place,
            "started_at": self._started_at,
            "updated_at": _now(),
            "write_every_s": self._every_s,
        }
        return JobStatus.model_validate(told | _told(counts) | (self._end or {}))


def _told(counts: Counts | None) -> dict[str, Any]:
    if counts is None:
        return {}
    return {one.name: getattr(counts, one.name) for one in fields(counts)}


def _end_of(error: BaseException) -> dict[str, Any]:
    if isinstance(error, InterruptedJobError):
        return {"state": DriverState.STOPPED, "exit_code": error.exit_code, "error": str(error)}
    if isinstance(error, BitmillError):
        return {"state": DriverState.FAILED, "exit_code": error.exit_code, "error": str(error)}
    # The message of an unexpected error may contain anything, secrets included; its type is enough here.
    return {
        "state": DriverState.FAILED,
        "exit_code": EXIT_UNEXPECTED,
        "error": f"{type(error).__name__} in the driver",
    }


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
