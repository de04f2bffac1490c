"""Writes status.json while a job runs, from a thread of its own: no job waits for it or fails by it."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

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
"""A store that does not take the last status within this time goes without it."""


class StatusWriter:
    """A context manager around a job that tells how it stands, every few seconds, in the output folder.

    Nothing is written before ``claim`` or ``run`` says that the folder is this job's own. How the block ends
    is the last status: by ``finish``, or by the error that passes.
    """

    def __init__(self, note: Callable[[str], None], *, write_every_s: float = WRITE_EVERY_S) -> None:
        """``note`` receives a sentence for the user where the file cannot be written."""
        self._note = note
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._end is None:
            self._end = _end_of(error)
        if self._thread.is_alive():
            self._wake.set()
            self._thread.join(_LAST_WRITE_S)

    def claim(self, folder: Folder) -> None:
        """Planning goes on in a folder of the job's own; told only where it takes longer than a write."""
        self._folder = folder
        if not self._thread.is_alive():
            self._thread.start()

    def run(self, folder: Folder, run_counts: RunCounts) -> None:
        """Shards are being worked on, as ``run_counts`` tells; written at once."""
        self._run_counts = run_counts
        self.claim(folder)
        self._wake.set()

    def finish(self, *, all_ok: bool, exit_code: int) -> None:
        """Every planned shard is committed."""
        state = DriverState.COMPLETE if all_ok else DriverState.COMPLETE_WITH_FAILURES
        self._end = {"state": state, "exit_code": exit_code}

    def _write_on(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            self._wake.clear()
            ended = self._end is not None
            # An error of planning leaves no trace in a folder where nothing was told yet.
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
                self._note(f"note: {STATUS_FILE} cannot be written; the job goes on ({error})")

    def _publish(self, folder: Folder) -> None:
        """Once more where it fails: the driver may have swept the folder of staged files at that moment."""
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
    # What is no error of ours has a text that may hold anything; its kind says enough here.
    return {
        "state": DriverState.FAILED,
        "exit_code": EXIT_UNEXPECTED,
        "error": f"{type(error).__name__} in the driver",
    }


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
