"""Makes an export's files in parallel processes; each receives one file after the other through a pipe."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip
from bitmill.pipeline.exporting.make_files import FileMaker
from bitmill.pipeline.exporting.progress import ExportProgress
from bitmill.pipeline.isolation.child_process import ChildProcess, serve
from bitmill.schemas.reports.export_inventory import OutlinedFile

_REPORT_EVERY_S = 0.25

OnProgress = Callable[[ExportProgress], None]


def make_files(
    maker: FileMaker, files: Sequence[OutlinedFile], *, workers: int, on_progress: OnProgress
) -> None:
    """Write and publish ``files``, in this process if one worker is enough.

    Raises the first error, after cancelling the files in progress.
    """
    if min(workers, len(files)) > 1:
        _make_side_by_side(maker, files, min(workers, len(files)), on_progress)
        return
    progress = _ProgressSum(sum(file.num_clips for file in files), on_progress)
    for file in files:
        maker.make(file, lambda clip: progress.add(1, clip.tokens.nbytes))


@dataclass(frozen=True)
class _Written:
    """A worker's report of what it wrote since its last report."""

    clips: int
    size_bytes: int
    file_done: bool


class _ProgressSum:
    """Sums reports and passes progress on."""

    def __init__(self, clips: int, on_progress: OnProgress) -> None:
        self._progress = ExportProgress(clips=clips)
        self._on_progress = on_progress

    def add(self, clips: int, size_bytes: int) -> None:
        now = self._progress
        self._progress = replace(
            now, done_clips=now.done_clips + clips, done_bytes=now.done_bytes + size_bytes
        )
        self._on_progress(self._progress)


def _make_side_by_side(
    maker: FileMaker, files: Sequence[OutlinedFile], workers: int, on_progress: OnProgress
) -> None:
    progress = _ProgressSum(sum(file.num_clips for file in files), on_progress)
    left = deque(files)
    children = [ChildProcess(_work, maker, doing="wrote files") for _ in range(workers)]
    try:
        for child in children:
            child.send(left.popleft())
        at_work = list(children)
        while at_work:
            ready = wait([child.pipe for child in at_work])
            for child in [child for child in at_work if child.pipe in ready]:
                report: _Written = child.receive()
                progress.add(report.clips, report.size_bytes)
                if report.file_done and left:
                    child.send(left.popleft())
                elif report.file_done:
                    at_work.remove(child)
    finally:
        for child in children:
            child.let_go()
        for child in children:
            child.end()


def _work(pipe: "Connection[Any, Any]", maker: FileMaker) -> None:
    """A worker's main loop: receives files, sends reports."""

    def make(file: OutlinedFile) -> None:
        reports = _Reports(pipe)
        maker.make(file, reports.clip_done)
        reports.send(file_done=True)

    serve(pipe, make)


class _Reports:
    """Reports clips from time to time."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe
        self._clips = self._bytes = 0
        self._sent = time.monotonic()

    def clip_done(self, clip: ExportedClip) -> None:
        self._clips += 1
        self._bytes += clip.tokens.nbytes
        if time.monotonic() - self._sent >= _REPORT_EVERY_S:
            self.send(file_done=False)

    def send(self, *, file_done: bool) -> None:
        """Send a report. Raises BrokenPipeError if the parent is gone, which cancels the file."""
        self._pipe.send(_Written(self._clips, self._bytes, file_done))
        self._clips = self._bytes = 0
        self._sent = time.monotonic()
