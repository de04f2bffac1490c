"""Peak memory of coding one clip above the weights, in a process of its own.

python -m benchmarks.fsq.memory peer vidtok-4x8x8 encode 17 256 256
"""

import json
import resource
import subprocess
import sys

import torch

from benchmarks.fsq.models import clip_of, tokenizer_of
from benchmarks.fsq.ways import make_way


def peak_bytes(who: str, model: str, what: str, shape_THW: tuple[int, int, int], threads: int) -> int:
    """Measured in a child, so that nothing of before counts."""
    numbers = map(str, (*shape_THW, threads))
    command = [sys.executable, "-m", "benchmarks.fsq.memory", who, model, what, *numbers]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["bytes"]


def main() -> None:
    who, model, what = sys.argv[1:4]
    num_frames, height, width, threads = map(int, sys.argv[4:])
    torch.set_num_threads(threads)
    tokenizer = tokenizer_of(model)
    # Libraries' own memory comes with a first clip, of one token.
    make_way(who, what, tokenizer, clip_of(1, *tokenizer.geometry.patch_px))()
    way = make_way(who, what, tokenizer, clip_of(num_frames, height, width))
    before = _peak()
    way()
    print(json.dumps({"bytes": _peak() - before}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
