"""Decoding processes that crash behind a clip, or hang; quick to import in those processes."""

import os
import time

from bitmill.pipeline.isolation.source_events import Staged, source_events
from bitmill.pipeline.items import DecodedClip


def crash(connection, sources, settings):
    connection.send(
        next(event for event in source_events(sources[0], settings) if isinstance(event, DecodedClip))
    )
    os.abort()


def hang(connection, sources, settings):
    connection.send(Staged())
    time.sleep(1000)
