"""A decoding process that dies of one source and hangs on another; quick to import in that process."""

import os
import time

from bitmill.pipeline.training.data import decode_worker
from bitmill.pipeline.training.data.make_sample import ClipMaker

DEADLY, HANGING = "3.png", "5.png"


class PoisonedMaker(ClipMaker):
    def make(self, task):
        if task.source.uri.endswith(DEADLY):
            os.abort()
        while task.source.uri.endswith(HANGING):
            time.sleep(1)
        return super().make(task)


def poisoned_work(pipe, settings, parent):
    """The child's main."""
    decode_worker.ClipMaker = PoisonedMaker
    decode_worker._work(pipe, settings, parent)
