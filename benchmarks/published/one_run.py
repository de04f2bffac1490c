"""One clip encoded or decoded in a process of its own: CPU seconds, and peak memory above the weights.

python -m benchmarks.published.one_run bitmill vidtok-4x8x8 encode 17 256 256 1
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

from benchmarks.published.models import clip_of, tokenizer_of
from benchmarks.published.ways import Convolutions, Way, make_way


def one_run(who: str, model: str, what: str, shape_THW: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """Seconds of CPU time, those of the floor, and bytes; in a child, so that nothing of before counts."""
    numbers = map(str, (*shape_THW, threads))
    command = [sys.executable, "-m", "benchmarks.published.one_run", who, model, what, *numbers]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    who, model, what = sys.argv[1:4]
    num_frames, height, width, threads = map(int, sys.argv[4:])
    torch.set_num_threads(threads)
    tokenizer, floor = tokenizer_of(model), Convolutions()
    way = make_way(who, what, tokenizer, clip_of(num_frames, height, width))
    floor_before = _seconds(floor)
    # Libraries' own memory comes with a first clip, of 1×2 tokens.
    geometry = tokenizer.geometry
    patch_height, patch_width = geometry.patch_px
    make_way(who, what, tokenizer, clip_of(geometry.least_frames, patch_height, 2 * patch_width))()
    before = _peak()
    seconds = _seconds(way)
    told = {"seconds": seconds, "bytes": _peak() - before}
    print(json.dumps(told | {"floor": (floor_before + _seconds(floor)) / 2}))


def _seconds(way: Way) -> float:
    """Of all threads, which other work on the machine disturbs less than the time that passes."""
    start = time.process_time()
    way()
    return time.process_time() - start


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
