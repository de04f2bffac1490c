"""Decoding processes that crash behind a clip, or hang; quick to import in those processes."""

import os
import time

from bitmill.pipeline.isolation.source_events import Staged, source_events
from bitmill.pipeline.items import DecodedClip


def crash(pipe, settings):
    _send_clip(pipe, settings)
    os.abort()


def linger(pipe, settings):
    _send_clip(pipe, settings)
    time.sleep(1000)


def hang(pipe, settings):
    pipe.send(Staged())
    time.sleep(1000)


def _send_clip(pipe, settings):
    source, *_ = pipe.recv()
    pipe.send(next(event for event in source_events(source, settings) if isinstance(event, DecodedClip)))
