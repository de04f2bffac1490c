"""Memory does not grow with a clip's length."""

import json
import subprocess
import sys


def test_a_long_clip_takes_no_more_memory():
    command = [sys.executable, "-m", "tests.bsq_model.published.long_clip", "1.1", "1", "2"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    for one, other in (told[:2], told[2:]):
        # A frame's pixels alone, in float32, are 5 MiB, and the second part has 48 more: 240 MiB. What the
        # allocator keeps of intermediate results goes up and down by 90.
        assert other["peak_mib"] - one["peak_mib"] < 128
