"""Peak memory of one encoding above its weights, in a process of its own.

python -m benchmarks.encoding.memory ours small 16
"""

import json
import resource
import subprocess
import sys

import torch

from benchmarks.encoding.models import make_way, tokenizer_of
from benchmarks.encoding.pictures import synthetic_clip


def peak_bytes(way: str, size: str, num_frames: int) -> int:
    """Measured in a child, so that nothing of before counts."""
    command = [sys.executable, "-m", "benchmarks.encoding.memory", way, size, str(num_frames)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(told)["bytes"]


def main() -> None:
    way, size, num_frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    tokenizer = tokenizer_of(size)
    encode = make_way(way, tokenizer)
    side_px = tokenizer.config.image_size_px
    encode([synthetic_clip(1, side_px, 0)])  # libraries' own memory
    clip = synthetic_clip(num_frames, side_px, 0)
    before = _peak()
    encode([clip])
    print(json.dumps({"bytes": _peak() - before}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
