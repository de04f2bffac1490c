"""Makes an export's files, a few at a time, and publishes each whole."""

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from pipeline.exporting.clips import ExportedClip, read_clips
from pipeline.exporting.form import Form
from pipeline.exporting.progress import ExportProgress
from pipeline.reading import TokenDataset
from pipeline.storage import Folder
from schemas.errors import FormatError, InterruptedJobError
from schemas.export import OutlinedFile

_MAKERS = 2
"""Threads: while one publishes a file, the other goes on writing."""

_TELL_EVERY_S = 0.25


def make_files(
    dataset: TokenDataset,
    form: Form,
    files: Sequence[OutlinedFile],
    out: Folder,
    tell: Callable[[ExportProgress], None],
) -> None:
    """Write and publish ``files``. The first error passes once the others' work is given up."""
    making = _Making(dataset, form, files, out)
    with ThreadPoolExecutor(_MAKERS) as pool:
        try:
            at_work = {pool.submit(making.work) for _ in range(_MAKERS)}
            while at_work:
                done, at_work = wait(at_work, timeout=_TELL_EVERY_S)
                for future in done:
                    future.result()
                tell(making.progress())
        finally:
            making.stop()


class _Making:
    """What the threads share."""

    def __init__(self, dataset: TokenDataset, form: Form, files: Sequence[OutlinedFile], out: Folder) -> None:
        self._dataset = dataset
        self._form = form
        self._files = deque(files)
        self._out = out
        self._clips = sum(file.num_clips for file in files)
        self._lock = threading.Lock()
        self._done_clips = self._done_bytes = 0
        self._stopped = threading.Event()

    def work(self) -> None:
        """Take files until there are none."""
        # A copy has row groups in memory of its own.
        dataset = copy.copy(self._dataset)
        while True:
            try:
                file = self._files.popleft()
            except IndexError:
                return
            with self._out.publishing(file.name) as staged:
                self._form.write_clips(staged.path, self._clips_of(dataset, file))

    def stop(self) -> None:
        """Files at work are given up, at their next clip."""
        self._files.clear()
        self._stopped.set()

    def progress(self) -> ExportProgress:
        """How far the threads are."""
        with self._lock:
            return ExportProgress(done_clips=self._done_clips, clips=self._clips, done_bytes=self._done_bytes)

    def _clips_of(self, dataset: TokenDataset, file: OutlinedFile) -> Iterator[ExportedClip]:
        tokens = 0
        for clip in read_clips(dataset, file.first_clip, file.num_clips, self._form.dtype):
            if self._stopped.is_set():
                raise InterruptedJobError("The export was stopped; run the same command again to go on.")
            yield clip
            tokens += clip.tokens_THW.size
            with self._lock:
                self._done_clips += 1
                self._done_bytes += clip.tokens_THW.nbytes
        if tokens != file.num_tokens:
            raise FormatError(
                f"{dataset.folder.uri} is not as it was when its export began: {file.name} would hold "
                f"{tokens} tokens, not {file.num_tokens}. Export into another folder."
            )
