"""The looks at the last few files, kept for this process: spans of one file share a count of its packets."""

import os
import threading

from bitmill.pipeline.decode.video.probe import VideoFacts, probe

_KEPT = 4

_Key = tuple[str, int, int, int, int, int]

_lock = threading.Lock()
_seen: dict[_Key, VideoFacts] = {}


def probe_once(path: str, *, max_pixels: int) -> VideoFacts:
    """As ``probe``, of a file that is not overwritten in place: counted again only where it was replaced.

    A look that an error ended is not kept, since a disk's may pass.
    """
    status = os.stat(path)  # noqa: PTH116 - as the store layer looks at files
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
