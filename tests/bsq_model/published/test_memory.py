"""Memory does not grow with a clip's length."""

import json

import pytest

from tests.support.commands import run_module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size", "noise_mib"),
    [
        # A frame's pixels alone, in float32, are 1.2 MiB, and the second part has 96 more: 115 MiB. The
        # allocator keeps up to 32 MiB of intermediate results, more or less.
        ("vidtok-v11", "240x432", 64),
        # Of a frame, the first layer's 32 channels are 0.9 MiB: 84 MiB.
        ("emu3", "64x112", 16),
    ],
)
def test_a_long_clip_takes_no_more_memory(model, size, noise_mib):
    done = run_module("tests.bsq_model.published.long_clip", model, size, "1", "4")
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    for one, other in (told[:2], told[2:]):
        assert other["peak_mib"] - one["peak_mib"] < noise_mib


@pytest.mark.parametrize("model", ["cosmos-dv4x8x8", "open-magvit2"])
def test_where_clips_have_an_end_no_long_one_is_tried(model):
    done = run_module("tests.bsq_model.published.long_clip", model, "64x64", "1")
    assert (done.code, f"{model} has no long clips" in done.err) == (2, True)
