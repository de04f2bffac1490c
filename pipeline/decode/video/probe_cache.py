"""Caches the probes of the last few files in this process, so that spans of one file share a packet count."""

import os
import threading

from bitmill.pipeline.decode.video.probe import VideoFacts, probe

_KEPT = 4

_Key = tuple[str, int, int, int, int, int]

_lock = threading.Lock()
_seen: dict[_Key, VideoFacts] = {}


def probe_once(path: str, *, max_pixels: int) -> VideoFacts:
    """As ``probe``, but cached for files that are not overwritten in place; a replaced file is probed again.

    A probe that ended with an error is not cached, since disk errors may be transient.
    """
    status = os.stat(path)  # noqa: PTH116 - as in the storage layer
    key = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, max_pixels)
    with _lock:
        facts = _seen.get(key)
    if facts is None:
        facts = probe(path, max_pixels=max_pixels)
        if not facts.cut_short:
            with _lock:
                while len(_seen) >= _KEPT:
                    del _seen[next(iter(_seen))]
                _seen[key] = facts
    return facts
