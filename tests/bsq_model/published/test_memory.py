"""Memory does not grow with a clip's length."""

import json

from tests.support.commands import run_module


def test_a_long_clip_takes_no_more_memory():
    done = run_module("tests.bsq_model.published.long_clip", "1.1", "240x432", "1", "4")
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    for one, other in (told[:2], told[2:]):
        # A frame's pixels alone, in float32, are 1.2 MiB, and the second part has 96 more: 115 MiB. The
        # allocator keeps up to 32 MiB of intermediate results, more or less.
        assert other["peak_mib"] - one["peak_mib"] < 64
