"""An export's files made by processes side by side; each gets one file after the other through a pipe."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from pipeline.exporting.clips import ExportedClip
from pipeline.exporting.making import FileMaker
from pipeline.exporting.progress import ExportProgress
from schemas.errors import BitmillError, InfrastructureError
from schemas.export import OutlinedFile

_TELL_EVERY_S = 0.25

_LAST_CLIPS_S = 60.0
"""A process that is to stop notices it within a quarter of a second, unless it publishes."""

Tell = Callable[[ExportProgress], None]


def make_files(maker: FileMaker, files: Sequence[OutlinedFile], *, workers: int, tell: Tell) -> None:
    """Write and publish ``files``, in this process where one worker is enough.

    The first error passes, once files at work are given up.
    """
    if min(workers, len(files)) > 1:
        _make_side_by_side(maker, files, min(workers, len(files)), tell)
        return
    told = _Told(sum(file.num_clips for file in files), tell)
    for file in files:
        maker.make(file, lambda clip: told.add(1, clip.tokens_THW.nbytes))


@dataclass(frozen=True)
class _Written:
    """A worker's report, since its last one."""

    clips: int
    size_bytes: int
    file_done: bool


class _Told:
    """Adds up reports for whoever listens."""

    def __init__(self, clips: int, tell: Tell) -> None:
        self._progress = ExportProgress(clips=clips)
        self._tell = tell

    def add(self, clips: int, size_bytes: int) -> None:
        now = self._progress
        self._progress = replace(
            now, done_clips=now.done_clips + clips, done_bytes=now.done_bytes + size_bytes
        )
        self._tell(self._progress)


def _make_side_by_side(maker: FileMaker, files: Sequence[OutlinedFile], workers: int, tell: Tell) -> None:
    told = _Told(sum(file.num_clips for file in files), tell)
    left = deque(files)
    children = [_Child(maker) for _ in range(workers)]
    try:
        for child in children:
            child.send(left.popleft())
        at_work = list(children)
        while at_work:
            ready = wait([child.pipe for child in at_work])
            for child in [child for child in at_work if child.pipe in ready]:
                report = child.receive()
                told.add(report.clips, report.size_bytes)
                if report.file_done and left:
                    child.send(left.popleft())
                elif report.file_done:
                    at_work.remove(child)
    finally:
        for child in children:
            child.let_go()
        for child in children:
            child.end()


class _Child:
    """A process, and our end of the pipe to it."""

    def __init__(self, maker: FileMaker) -> None:
        # A forked child would share locks of threads, and connections to stores, that it does not have.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(theirs, maker), daemon=True)
        with _ctrl_c_waits():
            self._process.start()
        theirs.close()

    def send(self, file: OutlinedFile) -> None:
        # A dead child is noticed when its answer is read.
        with suppress(OSError):
            self.pipe.send(file)

    def receive(self) -> _Written:
        """Its next report. Raises what it failed by, InfrastructureError where it died."""
        try:
            answer: Any = self.pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise InfrastructureError(
                f"A process that wrote files died (exit code {self._process.exitcode}); with fewer --workers "
                "there is more memory for each. Run the same command again to go on."
            ) from error
        if isinstance(answer, BitmillError):
            raise answer
        return answer

    def let_go(self) -> None:
        """Without a pipe it gives up its file, sweeps up and ends."""
        self.pipe.close()

    def end(self) -> None:
        self._process.join(_LAST_CLIPS_S)
        self._process.kill()
        self._process.join()


@contextmanager
def _ctrl_c_waits() -> Generator[None]:
    """Processes started in the block never hear of Ctrl-C, which reaches the whole terminal: they end with
    their pipes.
    """
    # It comes with the first process, and would lift the mask.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: "Connection[Any, Any]", maker: FileMaker) -> None:
    """A worker's life: files in, reports out, until the pipe ends."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            file: OutlinedFile = pipe.recv()
            reports = _Reports(pipe)
            try:
                maker.make(file, reports.clip_done)
            except BitmillError as error:
                pipe.send(error)
                return
            reports.send(file_done=True)


class _Reports:
    """Tells of clips now and then."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe
        self._clips = self._bytes = 0
        self._sent = time.monotonic()

    def clip_done(self, clip: ExportedClip) -> None:
        self._clips += 1
        self._bytes += clip.tokens_THW.nbytes
        if time.monotonic() - self._sent >= _TELL_EVERY_S:
            self.send(file_done=False)

    def send(self, *, file_done: bool) -> None:
        """Raises BrokenPipeError where nobody listens any more, which gives the file up."""
        self._pipe.send(_Written(self._clips, self._bytes, file_done))
        self._clips = self._bytes = 0
        self._sent = time.monotonic()
